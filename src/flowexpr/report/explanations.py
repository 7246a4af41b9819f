"""Explanations: a few decisions taken apart, as a part of the report and as a page of their own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowexpr import __version__
from flowexpr.display.explanation import as_colours, evidence_picture, map_scale, strip_captions
from flowexpr.evaluation import Predictions
from flowexpr.explain import Explanation
from flowexpr.explain.text import describe_way
from flowexpr.files import write_atomically
from flowexpr.report.faces import picture
from flowexpr.report.material import Material, Section
from flowexpr.report.pages import asset, template

__all__ = ["explanation_section", "write_explanations"]

N_EXPLAINED = 6
"""Decisions of a report that are taken apart."""

LEAST_SHOWN = 0.005
"""Regions with a smaller share of the largest one's nats are left out of the bars."""


def explanation_section(material: Material) -> Section | None:
    """Explain the surest right and the surest wrong predictions of images; pictures only where faces may be shown.

    None without a model that explains, or without images; they may be rows of pixels.
    """
    images, model = material.images, material.model
    if images is None or not hasattr(model, "explain") or getattr(model, "image_shape_", None) is None:
        return None
    places = _chosen(material, images)
    pooled = material.pooled
    rows = pooled.index[places]
    explained = model.explain(images[rows], counterfactual=material.embed_faces)
    return Section(
        "explanations",
        "Explanations",
        {
            "unseen": material.model_fold is not None,
            "shows_faces": material.embed_faces,
            "explained": [
                _told(one, material.name_of(row), material.embed_faces, str(label))
                for one, row, label in zip(explained, rows, pooled.y_true[places], strict=True)
            ],
        },
    )


def write_explanations(
    explanations: Sequence[Explanation], names: Sequence[str], path: str | os.PathLike[str], title: str
) -> Path:
    """Write a page of explanations that opens offline, with the faces in it.

    Parameters
    ----------
    explanations : sequence of Explanation
        Of images.
    names : sequence of str
        What each image is called.
    path : path-like
        The file to write; one that is there is replaced.
    title : str
        The page's heading.

    Returns
    -------
    path : Path
        The file.
    """
    page = template("explained.html").render(
        title=title,
        explained=[_told(one, name, True, None) for one, name in zip(explanations, names, strict=True)],
        style=asset("style.css"),
        version=__version__,
    )
    path = Path(path)
    write_atomically(path, page.encode("utf-8", errors="replace"))
    return path


def _chosen(material: Material, images: np.ndarray) -> np.ndarray:
    """Return places in `pooled`: the surest that are right, one per expression first, and as many surest mistakes.

    Of neighbouring frames, which say the same, the surest one comes first. The evaluation knows what the model says of
    its test fold; a model from elsewhere is asked.
    """
    pooled = material.pooled
    if material.model_fold is None:
        known = material.shown
        proba = material.model.predict_proba(images[pooled.index[known]])
        predicted = material.model.classes_[proba.argmax(1)]
    else:
        known = np.flatnonzero(pooled.fold == material.model_fold)
        proba, predicted = pooled.proba[known], pooled.y_pred[known]
    order = np.argsort(-proba.max(1), kind="stable")
    places, is_right = known[order], (predicted == pooled.y_true[known])[order]
    scene = _scenes(pooled)
    wrong = _first_of_each(scene, places[~is_right])[: N_EXPLAINED // 2]
    right = _first_of_each(pooled.y_true, _first_of_each(scene, places[is_right]))
    return np.concatenate([right[: N_EXPLAINED - len(wrong)], wrong])


def _scenes(pooled: Predictions) -> np.ndarray:
    """Return a number a prediction, the same for frames that look alike: of a clip, or of a person's one expression."""
    if pooled.clip is not None:
        return np.unique(pooled.clip, return_inverse=True)[1]
    if pooled.subject is None:
        return np.arange(len(pooled.index))
    subject, label = (np.unique(names, return_inverse=True)[1] for names in (pooled.subject, pooled.y_true))
    return subject * (label.max() + 1) + label


def _first_of_each(group: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return places with the first of every group before all others, in their order otherwise."""
    first = np.sort(np.unique(group[places], return_index=True)[1])
    return np.concatenate([places[first], np.delete(places, first)])


def _told(one: Explanation, name: str, shows_face: bool, shown: str | None) -> dict[str, Any]:
    """Return an explanation as plain values and pictures; `shown` is the expression that its label says, if any."""
    return {
        "name": name,
        "shown": shown,
        "label": str(one.label),
        "against": str(one.against),
        "right": shown == str(one.label),
        "text": one.text,
        "regions": _bars(one.regions if one.has_map and one.regions is not None else {}),
        "classes": [(str(label), float(p)) for label, p in zip(one.classes, one.probabilities, strict=True)],
        "pictures": _pictures(one) if shows_face else [],
        "way": _way(one) if shows_face else [],
        "way_to": None if one.counterfactual is None else describe_way(one.counterfactual, one.classes),
        "calibrated": one.calibrated,
        "near": _near(one) if shows_face else [],
        "sum": None if one.baseline_evidence is None else one.evidence - one.baseline_evidence,
        "start": one.start,
        "start_evidence": one.baseline_evidence,
    }


def _bars(regions: Mapping[str, float]) -> list[tuple[str, float, float, float]]:
    """Return each region's name, nats, and its bar's begin and length in per cent; what speaks for it right of zero."""
    largest = max((abs(nats) for nats in regions.values()), default=0.0)
    shown = {str(region): nats for region, nats in regions.items() if abs(nats) > LEAST_SHOWN * largest}
    zero = -min(0.0, *shown.values()) if shown else 0.0
    whole = zero + max(0.0, *shown.values()) if shown else 0.0
    return [
        (name, nats, 100 * (zero + min(0.0, nats)) / whole, 100 * abs(nats) / whole) for name, nats in shown.items()
    ]


def _pictures(one: Explanation) -> list[tuple[str, str]]:
    pictures = [(_face(one.image), "the face")]
    if one.pixel_map is not None and one.baseline is not None:
        pictures += [
            (_face(one.baseline), f"the map starts from {one.start}"),
            (picture(evidence_picture(one.image, one.pixel_map)), _map_caption(one)),
        ]
    return pictures


def _map_caption(one: Explanation) -> str:
    return f"for {one.label} (orange), {one.against} (blue); {map_scale(one)}"


def _way(one: Explanation) -> list[tuple[str, str]]:
    """Return the strip to the counterfactual, if it leads anywhere, and the probabilities of both classes under it."""
    if one.counterfactual is None:
        return []
    captions = strip_captions(one)
    faces = one.counterfactual.strip[: len(captions)]
    return [(_face(face), ", ".join(lines)) for face, lines in zip(faces, captions, strict=True)]


def _near(one: Explanation) -> list[tuple[str, list[tuple[str, float]]]]:
    return [
        (str(label), [(_face(near.image), near.distance) for near in found])
        for label, found in (one.neighbours or {}).items()
        if found
    ]


def _face(image: np.ndarray) -> str:
    return picture(as_colours(image[np.newaxis])[0])
