"""What an evaluation found: scores a fold, pooled predictions, and the tables made of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import confusion_matrix

from flowexpr.evaluation.protocols import PROTOCOLS

__all__ = ["EvaluationResult", "FoldScore", "Predictions"]


@dataclass(frozen=True)
class FoldScore:
    """What one estimator did on one fold; `log_loss` in nats, times in seconds."""

    estimator: str
    protocol: str
    fold: int
    n_train: int
    n_test: int
    accuracy: float
    balanced_accuracy: float
    log_loss: float
    fit_seconds: float
    predict_seconds: float


@dataclass(frozen=True)
class Predictions:
    """Out-of-fold predictions of one estimator, pooled over the folds of one protocol.

    Attributes
    ----------
    index : ndarray of shape (n_tested,)
        Row of X that was predicted; every row once, unless `max_folds` left folds out.
    fold : ndarray of shape (n_tested,)
        The fold in which it was a test row.
    y_true, y_pred : ndarray of shape (n_tested,)
        Its label, and the class of the largest probability.
    proba : ndarray of shape (n_tested, n_classes), float64
        Class probabilities, in the order of `EvaluationResult.classes`.
    """

    index: np.ndarray
    fold: np.ndarray
    y_true: np.ndarray
    y_pred: np.ndarray
    proba: np.ndarray


@dataclass(frozen=True)
class EvaluationResult:
    """Scores and predictions of every estimator under every protocol, as `evaluate` returns them.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        The labels, sorted.
    folds : list of FoldScore
        One row an estimator, protocol and fold, in the order in which they ran.
    predictions : dict of (estimator, protocol) to Predictions
        Pooled out-of-fold predictions.
    settings : dict
        What was asked for: protocols, number of splits, seed, numbers of images and groups.
    estimators : dict of (estimator, protocol) to list
        The fitted estimators, one a fold, where `return_estimators` was set; else empty.
    """

    classes: np.ndarray
    folds: list[FoldScore]
    predictions: dict[tuple[str, str], Predictions]
    settings: dict[str, Any]
    estimators: dict[tuple[str, str], list[BaseEstimator]] = field(default_factory=dict, repr=False)

    def summary(self) -> list[dict[str, Any]]:
        """Average the folds of every estimator and protocol.

        Returns
        -------
        rows : list of dict
            Keys: protocol, estimator, folds, accuracy, accuracy_std, balanced_accuracy, log_loss (nats),
            fit_seconds, predict_seconds. Scores are means over folds, `accuracy_std` their standard deviation
            (divided by the number of folds), seconds are sums.
        """
        rows = []
        for estimator, protocol in self.predictions:
            folds = [row for row in self.folds if (row.estimator, row.protocol) == (estimator, protocol)]
            accuracy = [row.accuracy for row in folds]
            rows.append(
                {
                    "protocol": protocol,
                    "estimator": estimator,
                    "folds": len(folds),
                    "accuracy": float(np.mean(accuracy)),
                    "accuracy_std": float(np.std(accuracy)),
                    "balanced_accuracy": float(np.mean([row.balanced_accuracy for row in folds])),
                    "log_loss": float(np.mean([row.log_loss for row in folds])),
                    "fit_seconds": float(sum(row.fit_seconds for row in folds)),
                    "predict_seconds": float(sum(row.predict_seconds for row in folds)),
                }
            )
        return rows

    def to_text(self) -> str:
        """Write the summary as an aligned table, followed by what every protocol means.

        Returns
        -------
        text : str
            Accuracies in per cent with their standard deviation over folds; log loss in nats.
        """
        header = ("protocol", "estimator", "accuracy", "balanced", "log loss", "folds", "seconds")
        rows = [
            (
                row["protocol"],
                row["estimator"],
                f"{row['accuracy']:6.1%} ± {row['accuracy_std']:5.1%}",
                f"{row['balanced_accuracy']:.1%}",
                f"{row['log_loss']:.3f}",
                str(row["folds"]),
                f"{row['fit_seconds'] + row['predict_seconds']:.1f}",
            )
            for row in self.summary()
        ]
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        lines = [_aligned(row, widths) for row in [header, *rows]]
        lines.insert(1, "-" * len(lines[0]))
        protocols = dict.fromkeys(row[0] for row in rows)
        return "\n".join([*lines, "", *(f"{name}: {PROTOCOLS[name]}" for name in protocols)])

    def to_json(self, path: str | Path | None = None) -> str:
        """Write everything but the fitted estimators and the pooled predictions as JSON.

        Parameters
        ----------
        path : str, Path or None, default=None
            A file to write as well.

        Returns
        -------
        text : str
            Keys: classes, settings, summary, folds, confusion_matrices (rows: true class, counts).
        """
        matrices = [
            {"estimator": key[0], "protocol": key[1], "counts": self.confusion_matrix(*key).tolist()}
            for key in self.predictions
        ]
        content = {
            "classes": self.classes.tolist(),
            "settings": self.settings,
            "summary": self.summary(),
            "folds": [asdict(row) for row in self.folds],
            "confusion_matrices": matrices,
        }
        text = json.dumps(content, indent=2)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    def confusion_matrix(self, estimator: str, protocol: str, *, normalize: str | None = None) -> np.ndarray:
        """Count which class was taken for which, over all test folds.

        Parameters
        ----------
        estimator, protocol : str
            A key of `estimators` and one of `protocols` as given to `evaluate`.
        normalize : {"true", "pred", "all"} or None, default=None
            As in `sklearn.metrics.confusion_matrix`; None counts.

        Returns
        -------
        matrix : ndarray of shape (n_classes, n_classes)
            Rows are the true classes, columns the predicted ones, in the order of `classes`.

        Raises
        ------
        ValueError
            If that estimator or protocol was not evaluated.
        """
        if (estimator, protocol) not in self.predictions:
            known = ", ".join(f"({name!r}, {kind!r})" for name, kind in self.predictions)
            raise ValueError(f"({estimator!r}, {protocol!r}) was not evaluated. Choose one of {known}.")
        pooled = self.predictions[estimator, protocol]
        return confusion_matrix(pooled.y_true, pooled.y_pred, labels=self.classes, normalize=normalize)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """One line of a table: names to the left, numbers to the right."""
    names = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
    numbers = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
    return "  ".join([*names, *numbers])
