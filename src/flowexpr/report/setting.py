"""What was done: whose images, which folds, which versions and when; the first part of the page."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from flowexpr.evaluation.protocols import PROTOCOLS
from flowexpr.persistence import library_versions
from flowexpr.report.material import Material, Section

__all__ = ["setting_section"]

TERMS = {
    "random_state": "Seed of the folds",
    "n_splits": "Folds of a protocol",
    "max_folds": "Folds run of each",
    "date": "Evaluated on",
    "data": "Read from",
}
"""What stands in `EvaluationResult.settings` and is shown as it is."""


def setting_section(material: Material) -> Section:
    """Describe data, protocols and software."""
    settings = material.result.settings
    return Section(
        "setting",
        "What was done",
        {
            "facts": _facts(material, settings),
            "protocols": [(name, PROTOCOLS[name], name == material.protocol) for name in material.protocols],
            "classes": _classes(material, settings),
            "estimators": settings.get("estimators", {}),
            "versions": settings.get("versions") or library_versions(),
            "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        },
    )


def _facts(material: Material, settings: dict[str, Any]) -> list[tuple[str, str]]:
    facts = [("Images" if material.images is None or material.images.ndim > 2 else "Samples", _count(material))]
    if "sample_shape" in settings:
        facts.append(("Shape of each", " x ".join(str(side) for side in settings["sample_shape"])))
    for kind, term in (("n_subjects", "Subjects"), ("n_clips", "Clips")):
        facts.append((term, str(settings.get(kind, "not known"))))
    facts += [(term, str(settings[key])) for key, term in TERMS.items() if settings.get(key) is not None]
    seconds = sum(row.fit_seconds + row.predict_seconds for row in material.result.folds)
    facts.append(("Training and testing", _duration(seconds)))
    if material.skipped:
        facts.append(("Files left out", str(len(material.skipped))))
    return facts


def _count(material: Material) -> str:
    n_samples = material.result.settings.get("n_samples", len(material.pooled.index))
    n_tested = len(np.unique(material.pooled.index))
    return str(n_samples) if n_tested == n_samples else f"{n_samples}, of which {n_tested} were tested"


def _classes(material: Material, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the number of images of every class, and its share of the most frequent one."""
    labels = material.result.classes
    tested = [int(np.sum(material.pooled.y_true == label)) for label in labels]
    counts = [settings.get("class_counts", {}).get(str(label), n) for label, n in zip(labels, tested, strict=True)]
    largest, total = max(counts), sum(counts)
    return [
        {"name": str(label), "count": n, "share": n / total, "bar": n / largest}
        for label, n in zip(labels, counts, strict=True)
    ]


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
