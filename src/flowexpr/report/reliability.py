"""Whether probabilities keep their word, and what is gained by leaving the unsure predictions out."""

from __future__ import annotations

from typing import Any

import numpy as np

from flowexpr.calibration import expected_calibration_error, reliability_bins
from flowexpr.evaluation import Predictions
from flowexpr.report.faces import picture
from flowexpr.report.material import Material, Section
from flowexpr.report.plots import Plot, Series

__all__ = ["rejection_section", "reliability_section"]

SHARES = (1.0, 0.95, 0.9, 0.8, 0.5)
"""How many of the predictions are answered in the table."""
N_LEAST_SURE = 12
N_LEAST_TYPICAL = 6


def reliability_section(material: Material) -> Section:
    """Draw accuracy against confidence, an estimator a diagram."""
    return Section(
        "reliability", "Reliability", {"diagrams": [_diagram(material, name) for name in material.estimators]}
    )


def rejection_section(material: Material) -> Section:
    """Draw accuracy against the share of predictions that are kept; list the least sure ones and the files left out."""
    curves = [_curve(material, name, style) for style, name in enumerate(material.estimators)]
    return Section(
        "rejection",
        "Rejected inputs",
        {
            "plot": Plot(
                "Accuracy of the predictions kept",
                curves,
                x_label="share of the predictions kept, the surest ones first",
                y_label="accuracy",
                x_percent=True,
                y_percent=True,
            ),
            "shares": SHARES,
            "rows": [
                (name, [_accuracy_of_surest(material, name, share) for share in SHARES]) for name in material.estimators
            ],
            "least_sure": _least_sure(material),
            "least_typical": _least_typical(material),
            "skipped": material.skipped,
        },
    )


def _diagram(material: Material, name: str) -> dict[str, Any]:
    pooled = material.result.predictions[name, material.protocol]
    index = np.searchsorted(material.result.classes, pooled.y_true)
    bins = reliability_bins(pooled.proba, index)
    notes = [
        f"{n} predictions: confidence {sure:.0%}, accuracy {right:.0%}" for sure, right, n in zip(*bins, strict=True)
    ]
    plot = Plot(
        name,
        [Series("", bins.confidence, bins.accuracy, notes=notes)],
        x_label="confidence (largest probability)",
        y_label="accuracy",
        x_percent=True,
        y_percent=True,
        diagonal=True,
        height=300,
    )
    error = expected_calibration_error(pooled.proba, index)
    gap = float(_confidence(pooled).mean() - _right(pooled).mean())
    return {"plot": plot, "error": error, "gap": gap, "bins": list(zip(*bins, strict=True))}


def _curve(material: Material, name: str, style: int) -> Series:
    pooled = material.result.predictions[name, material.protocol]
    right = _right(pooled)[np.argsort(-_confidence(pooled), kind="stable")]
    kept = np.arange(1, len(right) + 1)
    # A hundred points draw the same line as ten thousand; the first few per cent are too few images to tell anything.
    shown = np.unique(np.linspace(0.05 * len(right), len(right) - 1, 100).astype(int))
    return Series(name, (kept / len(right))[shown], (np.cumsum(right) / kept)[shown], style=style, dots=False)


def _accuracy_of_surest(material: Material, name: str, share: float) -> float:
    pooled = material.result.predictions[name, material.protocol]
    n = max(1, round(share * len(pooled.index)))
    return float(_right(pooled)[np.argsort(-_confidence(pooled), kind="stable")[:n]].mean())


def _least_sure(material: Material) -> list[dict[str, Any]]:
    pooled = material.pooled
    confidence = _confidence(pooled)
    places = np.argsort(confidence, kind="stable")[:N_LEAST_SURE]
    return [_prediction(material, int(i)) | {"confidence": float(confidence[i])} for i in places]


def _least_typical(material: Material) -> list[dict[str, Any]]:
    """List the images that are least like what the model was trained on; empty without such a model, or images."""
    if material.images is None or not hasattr(material.model, "typicality"):
        return []
    typicality = material.model.typicality(material.images[material.pooled.index[material.shown]])
    places = np.argsort(typicality, kind="stable")[:N_LEAST_TYPICAL]
    return [_prediction(material, int(material.shown[i])) | {"typicality": float(typicality[i])} for i in places]


def _prediction(material: Material, place: int) -> dict[str, Any]:
    """Describe one of the pooled predictions."""
    pooled = material.pooled
    row = int(pooled.index[place])
    right = bool(pooled.y_true[place] == pooled.y_pred[place])
    return {
        "name": material.name_of(row),
        "subject": None if pooled.subject is None else str(pooled.subject[place]),
        "true": str(pooled.y_true[place]),
        "predicted": str(pooled.y_pred[place]),
        "right": right,
        "face": picture(material.images[row]) if material.shows_faces and material.images is not None else None,
    }


def _confidence(pooled: Predictions) -> np.ndarray:
    return pooled.proba.max(axis=1)


def _right(pooled: Predictions) -> np.ndarray:
    return pooled.y_true == pooled.y_pred
