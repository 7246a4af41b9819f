"""The scores: by protocol and estimator, by fold, by person, against each other, and what leaks."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from flowexpr.report.material import Material, Section
from flowexpr.report.plots import Plot, Series

__all__ = ["confusion_section", "leakage_section", "people_section", "scores_section"]

STACK = 0.025
"""Width of a column of dots, as a share."""
MOST_APART = 24
"""People on top of each other who stand apart; dots of more overlap, so that the chart stays as high."""


def scores_section(material: Material) -> Section:
    """Average scores with their intervals, the folds, and every pair of estimators compared."""
    result = material.result
    summary = sorted(result.summary(), key=lambda row: material.protocols.index(row["protocol"]))
    known = material.pooled.subject is not None
    pairs = [(*pair, kind) for kind in material.protocols for pair in combinations(_run(material, kind), 2) if known]
    return Section(
        "scores",
        "Scores",
        {
            "summary": summary,
            "chance": material.chance,
            "folds": sorted(result.folds, key=lambda row: material.protocols.index(row.protocol)),
            "comparisons": [result.compare(a, b, protocol) for a, b, protocol in pairs],
        },
    )


def confusion_section(material: Material) -> Section:
    """Which expression was taken for which, averaged over folds (the paper's Table II)."""
    keys = [(name, protocol) for protocol in material.protocols for name in _run(material, protocol)]
    first = (material.estimator, material.protocol)
    return Section(
        "confusion",
        "Confusion",
        {
            "labels": [str(label) for label in material.result.classes],
            "matrices": [
                {
                    "estimator": name,
                    "protocol": protocol,
                    "shares": material.result.confusion_matrix(
                        name, protocol, normalize="true", average="folds"
                    ).tolist(),
                    "counts": material.result.confusion_matrix(name, protocol).tolist(),
                }
                for name, protocol in sorted(keys, key=lambda key: key != first)
            ],
        },
    )


def people_section(material: Material) -> Section | None:
    """How well each person's expressions were recognised; None where nobody knows who is who."""
    if material.pooled.subject is None:
        return None
    scores = {name: material.result.subject_scores(name, material.protocol) for name in material.estimators}
    first = scores[material.estimator]
    order = sorted(range(len(first)), key=lambda i: first[i]["accuracy"])
    rows = [
        {
            "subject": str(first[i]["subject"]),
            "n": first[i]["n"],
            "accuracies": [s[i]["accuracy"] for s in scores.values()],
        }
        for i in order
    ]
    return Section(
        "people",
        "Person by person",
        {"plots": [_stacked(name, rows) for name, rows in scores.items()], "rows": rows, "estimators": list(scores)},
    )


def leakage_section(material: Material) -> Section | None:
    """Count what test images share with training images, protocol by protocol."""
    if not material.result.leakage:
        return None
    counts = {name: material.result.leakage[name] for name in material.protocols}
    examples = [
        {
            **pair,
            "protocol": name,
            "test_name": material.name_of(pair["test"]),
            "train_name": material.name_of(pair["train"]),
        }
        for name, row in counts.items()
        for pair in row["examples"]
    ]
    return Section("leakage", "What test images share with training images", {"counts": counts, "examples": examples})


def _run(material: Material, protocol: str) -> list[str]:
    return [name for name, kind in material.result.predictions if kind == protocol]


def _stacked(name: str, rows: list[dict[str, Any]]) -> Plot:
    """Draw a dot a person above his or her accuracy, equal ones on top of each other."""
    accuracy = np.array([row["accuracy"] for row in rows])
    columns = np.round(accuracy / STACK)
    heights = np.array([np.sum(columns[:i] == column) for i, column in enumerate(columns)])
    notes = [f"{row['subject']}: {row['accuracy']:.0%} of {row['n']} images" for row in rows]
    tallest = max(6, int(heights.max()) + 1)
    return Plot(
        title=name,
        series=[Series("", accuracy, heights + 0.5, line=False, notes=notes)],
        x_label="accuracy, a dot a person",
        x_percent=True,
        x_range=(0.0, 1.0),
        y_range=(0, tallest),
        y_ticks=False,
        height=54 + 10 * min(tallest, MOST_APART),
    )
