"""The model: how its training went, and its card: what it is, what it is for, and where it ends."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flowexpr.display.training import PANELS
from flowexpr.evaluation.checkpoint import UNRELATED
from flowexpr.report.material import Material, Section
from flowexpr.report.plots import Plot, Series

__all__ = ["card_section", "training_section"]

FITTED = {
    "n_parameters_": "Trained numbers",
    "image_shape_": "Images it takes",
    "n_steps_": "Training steps",
    "temperature_": "Temperature",
    "validation_": "Held out for validation",
    "device_": "Device",
    "precision_": "Precision",
}
"""Fitted attributes that the card shows, where the model has them."""


def training_section(material: Material) -> Section | None:
    """Draw the losses and accuracies of the epochs; None where the model keeps no history."""
    history = getattr(material.model, "history_", None)
    if not history:
        return None
    plots = [_course(history, key, label) for key, label in PANELS.items() if key in history[0]]
    skipped = sum(int(row.get("skipped_steps", 0)) for row in history)
    seconds = sum(float(row.get("seconds", 0)) for row in history)
    return Section(
        "training",
        "Learning curves",
        {"plots": plots, "epochs": len(history), "skipped": skipped, "seconds": seconds},
    )


def card_section(material: Material) -> Section:
    """Say what the model is and how it did; the template adds what it is for, its limits and its ethics."""
    pooled = material.pooled
    recalls = np.diag(material.result.confusion_matrix(material.estimator, material.protocol, normalize="true"))
    worst, best = int(recalls.argmin()), int(recalls.argmax())
    labels = [str(label) for label in material.result.classes]
    return Section(
        "card",
        "Model card",
        {
            "kind": type(material.model).__name__ if material.model is not None else None,
            "facts": _facts(material.model),
            "parameters": _changed_parameters(material.model),
            "labels": [str(label) for label in getattr(material.model, "classes_", material.result.classes)],
            "accuracy": float(np.mean(pooled.y_true == pooled.y_pred)),
            "worst": (labels[worst], float(recalls[worst])),
            "best": (labels[best], float(recalls[best])),
        },
    )


def _course(history: list[dict[str, Any]], key: str, label: str) -> Plot:
    epochs = [float(row["epoch"]) for row in history]
    drawn = [("training", key, False), ("validation", f"val_{key}", True)]
    series = [
        Series(
            name,
            epochs,
            [row.get(column, math.nan) for row in history],
            style=style,
            dots=len(epochs) <= 30,
            dashed=dashed,
        )
        for style, (name, column, dashed) in enumerate(drawn)
        if any(column in row for row in history)
    ]
    values = np.concatenate([np.asarray(one.y, dtype=float) for one in series])
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    room = 0.06 * (high - low) or 0.5
    name = label.replace("\n", " ")
    is_share = key == "accuracy"
    return Plot(
        name[0].upper() + name[1:],
        series if len(series) > 1 else [Series("", series[0].x, series[0].y, dots=series[0].dots)],
        x_label="epoch",
        y_label=name,
        x_range=(min(epochs) - 0.5, max(epochs) + 0.5),
        y_range=(0.0, 1.0) if is_share else (low - room, high + room),
        y_percent=is_share,
        height=220,
    )


def _facts(model: Any) -> list[tuple[str, str]]:
    facts = []
    for name, term in FITTED.items():
        value = getattr(model, name, None)
        if value is not None:
            facts.append((term, _written(value)))
    return facts


def _written(value: Any) -> str:
    if isinstance(value, tuple | list):
        return " x ".join(str(part) for part in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else f"{value:.4g}"


def _changed_parameters(model: Any) -> list[tuple[str, str]]:
    """Return the parameters that differ from the defaults, but for those that change no result."""
    if not hasattr(model, "get_params"):
        return []
    try:
        defaults = type(model)().get_params(deep=False)
    except TypeError:  # a pipeline has no defaults
        return []
    return [
        (name, repr(value))
        for name, value in model.get_params(deep=False).items()
        if name not in UNRELATED and repr(value) != repr(defaults[name])
    ]
