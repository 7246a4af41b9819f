"""Morphs: faces carried from one expression to the others, and what the model makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowexpr.report.faces import picture
from flowexpr.report.material import Material, Section
from flowexpr.report.plots import Plot, Series

__all__ = ["morph_section"]

STRENGTHS = (0.0, 0.5, 1.0, 1.5)
N_PEOPLE = 4
N_MEASURED = 24


def morph_section(material: Material) -> Section | None:
    """Morph a few faces; pictures only where faces may be shown, the model's own reading of the morphs always.

    None without a model that morphs, or without images.
    """
    images = material.images
    if images is None or images.ndim < 3 or not hasattr(material.model, "morph"):
        return None
    start, shown_by = _starts(material)
    if not len(start):
        return None
    neutral = shown_by[0] if _is_neutral(shown_by).all() else None
    targets = [label for label in material.model.classes_ if label != neutral]
    measured, shown = slice(N_MEASURED), slice(N_PEOPLE)
    return Section(
        "morphs",
        "Morphs",
        {
            "plot": _recognised(material.model, images[start[measured]], targets, shown_by[measured]),
            "n_measured": len(start[measured]),
            "from_name": None if neutral is None else str(neutral),
            "targets": [str(label) for label in targets],
            "people": _sheet(material, images[start[shown]], targets, shown_by[shown]) if material.shows_faces else [],
            "person": _strengths(material, images[start[0]], targets, shown_by[0]) if material.shows_faces else [],
            "unseen": material.model_fold is not None,
        },
    )


def _starts(material: Material) -> tuple[np.ndarray, np.ndarray]:
    """Return rows to start from and what they show: one per person first; neutral, and new people, if there are any.

    Only faces whose expression the model knows, since a morph takes it away.
    """
    pooled = material.pooled
    known = np.isin(pooled.y_true, material.model.classes_)
    neutral = known & _is_neutral(pooled.y_true)
    if neutral.any():
        known = neutral
    if material.model_fold is not None:
        known &= pooled.fold == material.model_fold
    places = np.random.default_rng(material.random_state).permutation(np.flatnonzero(known))
    if pooled.subject is not None:
        _, first = np.unique(pooled.subject[places], return_index=True)
        places = np.concatenate([places[first], np.delete(places, first)])
    return pooled.index[places], pooled.y_true[places]


def _is_neutral(labels: np.ndarray) -> np.ndarray:
    return np.array([str(label).lower() == "neutral" for label in labels], dtype=bool)


def _morph(model: Any, images: np.ndarray, to: Any, from_: Any, strength: float) -> np.ndarray:
    return np.asarray(model.morph(images, to, from_=from_, strength=strength)).reshape(images.shape)


def _recognised(model: Any, images: np.ndarray, targets: list[Any], from_: np.ndarray) -> Plot:
    """Draw how often the model reads a morph of another expression as what it should show, by strength."""
    series = []
    for style, label in enumerate(targets):
        rows = from_ != label
        if not rows.any():
            continue
        morphs = [_morph(model, images[rows], label, from_[rows], strength) for strength in STRENGTHS]
        shares = [np.mean(model.predict(faces) == label) for faces in morphs]
        series.append(Series(str(label), STRENGTHS, shares, style=style))
    return Plot(
        "Morphs that the model itself reads as their target",
        series,
        x_label="strength",
        y_label="share of the morphs",
        x_range=(0.0, STRENGTHS[-1]),
        y_percent=True,
    )


def _sheet(material: Material, images: np.ndarray, targets: list[Any], from_: np.ndarray) -> list[list[str]]:
    """Return a row per person: the start, then every target at strength 1."""
    columns = [images, *(_morph(material.model, images, label, from_, 1.0) for label in targets)]
    return [[picture(column[i]) for column in columns] for i in range(len(images))]


def _strengths(material: Material, image: np.ndarray, targets: list[Any], from_: Any) -> list[tuple[str, list[str]]]:
    """Return one person: a row per target, a column per strength."""
    one = image[np.newaxis]
    return [
        (str(label), [picture(_morph(material.model, one, label, from_, strength)[0]) for strength in STRENGTHS])
        for label in targets
    ]
