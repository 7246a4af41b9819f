"""The tables of an evaluation: rows as dicts, a DataFrame where pandas is installed, and plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import classification_report

from flowexpr.calibration import expected_calibration_error
from flowexpr.evaluation.protocols import PROTOCOLS
from flowexpr.evaluation.statistics import mean_interval

if TYPE_CHECKING:
    from flowexpr.evaluation.result import EvaluationResult

__all__ = ["class_rows", "subject_rows", "summary_row", "tidy", "to_text"]


def tidy(rows: list[dict[str, Any]]) -> Any:
    """Return rows as a DataFrame, or as they are where pandas is not installed."""
    try:
        import pandas as pd
    except ImportError:
        return rows
    return pd.DataFrame(rows)


def summary_row(result: EvaluationResult, estimator: str, protocol: str) -> dict[str, Any]:
    """Average one estimator under one protocol; see `EvaluationResult.summary`."""
    folds = [row for row in result.folds if (row.estimator, row.protocol) == (estimator, protocol)]
    accuracy = [row.accuracy for row in folds]
    pooled = result.predictions[estimator, protocol]
    subjects: dict[str, Any] = dict.fromkeys(("n_subjects", "subject_accuracy", "accuracy_low", "accuracy_high"))
    if pooled.subject is not None:
        scores = np.array([row["accuracy"] for row in subject_rows(result, estimator, protocol)])
        subjects["n_subjects"], subjects["subject_accuracy"] = len(scores), float(scores.mean())
        subjects["accuracy_low"], subjects["accuracy_high"] = mean_interval(scores, 0, 1)
    return {
        "protocol": protocol,
        "estimator": estimator,
        "folds": len(folds),
        "accuracy": float(np.mean(accuracy)),
        "accuracy_std": float(np.std(accuracy)),
        **subjects,
        "balanced_accuracy": float(np.mean([row.balanced_accuracy for row in folds])),
        "log_loss": float(np.mean([row.log_loss for row in folds])),
        "ece": expected_calibration_error(pooled.proba, np.searchsorted(result.classes, pooled.y_true)),
        **{f"recall_{row['class']}": row["recall"] for row in class_rows(result, estimator, protocol)},
        "fit_seconds": float(sum(row.fit_seconds for row in folds)),
        "predict_seconds": float(sum(row.predict_seconds for row in folds)),
    }


def subject_rows(result: EvaluationResult, estimator: str, protocol: str) -> list[dict[str, Any]]:
    """Score every test subject apart; see `EvaluationResult.subject_scores`."""
    pooled = result.pooled(estimator, protocol)
    if pooled.subject is None:
        raise ValueError("scores by subject need the subjects. Pass subject= to evaluate, one name per image.")
    right = pooled.y_true == pooled.y_pred
    of_truth = pooled.proba[np.arange(len(right)), np.searchsorted(result.classes, pooled.y_true)]
    loss = -np.log(np.clip(of_truth, np.finfo(float).eps, 1))  # cut off as scikit-learn's log_loss does
    return [
        {
            "subject": name.item() if isinstance(name, np.generic) else name,
            "n": int(np.sum(rows)),
            "accuracy": float(right[rows].mean()),
            "log_loss": float(loss[rows].mean()),
        }
        for name in np.unique(pooled.subject)
        for rows in [pooled.subject == name]
    ]


def class_rows(result: EvaluationResult, estimator: str, protocol: str) -> list[dict[str, Any]]:
    """Score every class apart; see `EvaluationResult.class_table`."""
    pooled = result.pooled(estimator, protocol)
    names = [str(label) for label in result.classes]
    report = classification_report(
        pooled.y_true,
        pooled.y_pred,
        labels=result.classes,
        target_names=names,
        output_dict=True,
        zero_division=0,
    )
    return [
        {
            "protocol": protocol,
            "estimator": estimator,
            "class": name,
            "n": int(report[name]["support"]),
            "precision": float(report[name]["precision"]),
            "recall": float(report[name]["recall"]),
            "f1": float(report[name]["f1-score"]),
        }
        for name in names
    ]


def to_text(result: EvaluationResult) -> str:
    """Write the summary as an aligned table with notes; see `EvaluationResult.to_text`."""
    header = ("protocol", "estimator", "accuracy", "over subjects", "balanced", "log loss", "ECE", "folds", "seconds")
    rows = [
        (
            row["protocol"],
            row["estimator"],
            f"{row['accuracy']:6.1%} ± " + (f"{row['accuracy_std']:5.1%}" if row["folds"] > 1 else "    -"),
            _interval(row),
            f"{row['balanced_accuracy']:.1%}",
            f"{row['log_loss']:.3f}",
            f"{row['ece']:.3f}",
            str(row["folds"]),
            f"{row['fit_seconds'] + row['predict_seconds']:.1f}",
        )
        for row in result.summary()
    ]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [_aligned(row, widths) for row in [header, *rows]]
    lines.insert(1, "-" * len(lines[0]))
    protocols = dict.fromkeys(row[0] for row in rows)
    notes = [f"{name}: {PROTOCOLS[name]}" for name in protocols]
    shared = [f"{name}: {_shared(result.leakage[name])}" for name in protocols if name in result.leakage]
    return "\n".join([*lines, "", *notes, "", "test rows that training knows", *shared])


def _interval(row: dict[str, Any]) -> str:
    """Write the mean over subjects with its 95 % interval."""
    if row["accuracy_low"] is None:
        return "-"
    return f"{row['subject_accuracy']:.1%} [{row['accuracy_low']:.1%}, {row['accuracy_high']:.1%}]"


def _shared(leaks: dict[str, Any]) -> str:
    """Say how many test rows share something with training rows."""
    n = leaks["n_tested"]
    parts = [
        f"{leaks[key] / n:.0%} by {kind}" for kind in ("subject", "clip") if (key := f"rows_of_shared_{kind}s") in leaks
    ]
    if leaks["near_duplicates"] is not None:
        parts.append(f"{leaks['near_duplicates'] / n:.0%} by a nearly identical image")
    return ", ".join(parts) or "not known"


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """One line of a table: names to the left, numbers to the right."""
    names = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    numbers = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
    return "  ".join([*names, *numbers])
