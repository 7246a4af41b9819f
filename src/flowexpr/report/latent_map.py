"""The latent map, to be explored by pointer or keyboard; how latents cluster, and what trees make of such maps."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from flowexpr.embedding import embed, has_latents, latents_of
from flowexpr.evaluation import Predictions, cluster_scores
from flowexpr.report.faces import face_sheet
from flowexpr.report.material import Material, Section

__all__ = ["map_section", "trees_section"]

FEWEST = 5
SIZE = 1000
"""The map's side in its own units, in which places are written as whole numbers."""
MARGIN = 30


def map_section(material: Material) -> Section | None:
    """Embed the model's latents of the images that were tested; None without a model or images."""
    if material.images is None or not has_latents(material.model) or len(material.pooled.index) < FEWEST:
        return None
    chosen = material.shown
    rows = material.pooled.index[chosen]
    latents = latents_of(material.model, material.images[rows])
    places = _in_square(embed(latents, "tsne", material.random_state))
    faces = face_sheet(material.images[rows]) if material.shows_faces else None
    data = _data(material, chosen, places)
    if faces is not None:
        data["faces"] = {"columns": faces.columns, "rows": faces.rows}
    return Section(
        "map",
        "Latent map",
        {
            "data": data,
            "faces": faces,
            "size": SIZE,
            "n_all": len(material.pooled.index),
            "n_latents": latents.shape[1],
            "knows_unseen": material.model_fold is not None,
            "fold": material.model_fold,
            "clusters": _clusters(material, chosen, latents),
        },
    )


def trees_section(material: Material) -> Section | None:
    """Show the paper's Table I; None where it was not made."""
    return Section("trees", "Trees on latents", {"rows": material.latent_table}) if material.latent_table else None


def _clusters(material: Material, chosen: np.ndarray, latents: np.ndarray) -> list[dict[str, Any]]:
    """Score how the latents, and the pixels, gather by subject and expression; nothing where subjects are not known."""
    pooled, images = material.pooled, material.images
    if pooled.subject is None or images is None:
        return []
    subject, clip = pooled.subject[chosen], None if pooled.clip is None else pooled.clip[chosen]
    pixels = images[pooled.index[chosen]].reshape(len(chosen), -1)
    return [
        {"of": name} | row
        for name, points in (("latents", latents), ("pixels", pixels))
        for row in cluster_scores(points, pooled.y_true[chosen], subject=subject, clip=clip)
    ]


def _in_square(places: np.ndarray) -> np.ndarray:
    """Turn the map so that its longest direction lies flat, and fit it into the square, keeping its proportions."""
    turned = PCA(2).fit_transform(places)
    low, high = turned.min(axis=0), turned.max(axis=0)
    scale = (SIZE - 2 * MARGIN) / max(float((high - low).max()), 1e-9)
    return np.round(SIZE / 2 + (turned - (low + high) / 2) * scale).astype(int)


def _data(material: Material, chosen: np.ndarray, places: np.ndarray) -> dict[str, Any]:
    """Return what the script in the page reads: a row per point, its words as places in lists."""
    pooled, classes = material.pooled, material.result.classes
    subjects, subject = _subjects(pooled, chosen)
    unseen = (
        np.zeros(len(chosen), dtype=int) if material.model_fold is None else pooled.fold[chosen] == material.model_fold
    )
    columns = (
        places[:, 0],
        places[:, 1],
        np.searchsorted(classes, pooled.y_true[chosen]),
        np.searchsorted(classes, pooled.y_pred[chosen]),
        subject,
        unseen,
    )
    return {
        "size": SIZE,
        "labels": [str(label) for label in classes],
        "subjects": subjects,
        "unseen": ", new to the model" if material.new_people else ", an image new to the model",
        "names": [material.name_of(int(row)) for row in pooled.index[chosen]],
        "points": np.column_stack(columns).astype(int).tolist(),
        "proba": np.round(1000 * pooled.proba[chosen]).astype(int).tolist(),
    }


def _subjects(pooled: Predictions, chosen: np.ndarray) -> tuple[list[str], np.ndarray]:
    if pooled.subject is None:
        return [], np.full(len(chosen), -1)
    names, index = np.unique(pooled.subject[chosen], return_inverse=True)
    return [str(name) for name in names], index
