"""What an evaluation found: scores a fold, pooled predictions, and what both sides of the splits share."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import confusion_matrix

from flowexpr.evaluation import tables
from flowexpr.evaluation.statistics import mean_interval, wilcoxon_p
from flowexpr.files import write_atomically

__all__ = ["EvaluationResult", "FoldScore", "Predictions"]

FORMAT = 1
"""Of the JSON that `to_json` writes."""


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
    subject : ndarray of shape (n_tested,) or None
        Who is seen, as given to `evaluate`.
    clip : ndarray of shape (n_tested,), int, or None
        Number of the recording: rows of one recording have the same one.
    """

    index: np.ndarray
    fold: np.ndarray
    y_true: np.ndarray
    y_pred: np.ndarray
    proba: np.ndarray
    subject: np.ndarray | None = None
    clip: np.ndarray | None = None


@dataclass(frozen=True)
class EvaluationResult:
    """Scores and predictions of every estimator under every protocol, as `evaluate` returns them.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        The labels, sorted.
    folds : list of FoldScore
        One row per protocol, estimator and fold.
    predictions : dict of (estimator, protocol) to Predictions
        Pooled out-of-fold predictions.
    settings : dict
        What was asked for and of what: protocols, number of splits, seed, estimators, numbers of images, groups and
        labels, versions of the libraries, date.
    leakage : dict of protocol to dict
        What test rows share with training rows: counts of subjects, clips and near-duplicate frames, the measure by
        which frames are near duplicates, and the five most similar pairs. By subject no one is shared, and the near
        duplicates left are different people who look alike to the measure.
    estimators : dict of (estimator, protocol) to list
        The fitted estimators, one per fold, where `return_estimators` was set; else empty.
    """

    classes: np.ndarray
    folds: list[FoldScore]
    predictions: dict[tuple[str, str], Predictions]
    settings: dict[str, Any]
    leakage: dict[str, dict[str, Any]] = field(default_factory=dict)
    estimators: dict[tuple[str, str], list[BaseEstimator]] = field(default_factory=dict, repr=False)

    def summary(self) -> list[dict[str, Any]]:
        """Average the folds of every estimator and protocol.

        Returns
        -------
        rows : list of dict
            protocol, estimator, folds; accuracy, the mean over folds, accuracy_std, their standard deviation (divided
            by the number of folds); n_subjects, subject_accuracy, the mean over subjects of their accuracies,
            accuracy_low and accuracy_high, its 95 % interval (None without subjects); balanced_accuracy and log_loss
            (nats), means over folds; ece, the expected calibration error in ten bins; recall_* of every class, over
            all test rows; fit_seconds, predict_seconds, sums.
        """
        return [tables.summary_row(self, *key) for key in self.predictions]

    def subject_scores(self, estimator: str, protocol: str) -> list[dict[str, Any]]:
        """Score every test subject apart.

        Parameters
        ----------
        estimator, protocol : str
            A key of `estimators` and one of `protocols` as given to `evaluate`.

        Returns
        -------
        rows : list of dict
            subject, n (images), accuracy, log_loss (nats), sorted by subject.

        Raises
        ------
        ValueError
            If that was not evaluated, or without subjects.
        """
        return tables.subject_rows(self, estimator, protocol)

    def compare(self, a: str, b: str, protocol: str) -> dict[str, Any]:
        """Compare two estimators on the same test rows, paired over subjects.

        Parameters
        ----------
        a, b : str
            Keys of `estimators` as given to `evaluate`.
        protocol : str
            The protocol under which both were evaluated.

        Returns
        -------
        comparison : dict
            protocol, a, b, n_subjects; accuracy_a and accuracy_b, means over subjects; difference, the mean of a - b,
            and low and high, its 95 % t-interval (None for one subject); a_better, b_better, ties, numbers of
            subjects; p_value of Wilcoxon's signed-rank test, two-sided [1]_.

        Raises
        ------
        ValueError
            If one of the two was not evaluated, or without subjects.

        References
        ----------
        .. [1] Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7, 2006,
           https://www.jmlr.org/papers/v7/demsar06a.html
        """
        scores = [np.array([row["accuracy"] for row in self.subject_scores(name, protocol)]) for name in (a, b)]
        differences = scores[0] - scores[1]
        low, high = mean_interval(differences, -1, 1)
        return {
            "protocol": protocol,
            "a": a,
            "b": b,
            "n_subjects": len(differences),
            "accuracy_a": float(scores[0].mean()),
            "accuracy_b": float(scores[1].mean()),
            "difference": float(differences.mean()),
            "low": low,
            "high": high,
            "a_better": int(np.sum(differences > 0)),
            "b_better": int(np.sum(differences < 0)),
            "ties": int(np.sum(differences == 0)),
            "p_value": wilcoxon_p(differences),
        }

    def confusion_matrix(
        self, estimator: str, protocol: str, *, normalize: str | None = None, average: str = "pooled"
    ) -> np.ndarray:
        """Count which class was taken for which.

        ``ConfusionMatrixDisplay(matrix, display_labels=result.classes).plot()``, of `sklearn.metrics`, draws it.

        Parameters
        ----------
        estimator, protocol : str
            A key of `estimators` and one of `protocols` as given to `evaluate`.
        normalize : {"true", "pred", "all"} or None, default=None
            As in `sklearn.metrics.confusion_matrix`; None counts.
        average : {"pooled", "folds"}, default="pooled"
            One matrix of the test rows of all folds; or the mean of the folds' own matrices, each normalised, as in
            the paper's Table II. A fold that lacks a class has no part in the mean of that class.

        Returns
        -------
        matrix : ndarray of shape (n_classes, n_classes)
            Rows are the true classes, columns the predicted ones, in the order of `classes`.

        Raises
        ------
        ValueError
            If that estimator or protocol was not evaluated.
        """
        pooled = self.pooled(estimator, protocol)
        if average not in ("pooled", "folds"):
            raise ValueError(f'average was expected to be "pooled" or "folds", but is {average!r}.')
        if average == "pooled":
            return confusion_matrix(pooled.y_true, pooled.y_pred, labels=self.classes, normalize=normalize)
        matrices = []
        for fold in np.unique(pooled.fold):
            rows = pooled.fold == fold
            y_true, y_pred = pooled.y_true[rows], pooled.y_pred[rows]
            matrix = confusion_matrix(y_true, y_pred, labels=self.classes, normalize=normalize).astype(float)
            if normalize in ("true", "pred"):
                absent = ~np.isin(self.classes, y_true if normalize == "true" else y_pred)
                matrix[(absent, slice(None)) if normalize == "true" else (slice(None), absent)] = np.nan
            matrices.append(matrix)
        return np.ma.masked_invalid(matrices).mean(axis=0).filled(0)

    def pooled(self, estimator: str, protocol: str) -> Predictions:
        """Return `predictions[estimator, protocol]`, or say what there is instead.

        Parameters
        ----------
        estimator, protocol : str
            A key of `estimators` and one of `protocols` as given to `evaluate`.

        Returns
        -------
        predictions : Predictions
            Of all test rows.

        Raises
        ------
        ValueError
            If that estimator or protocol was not evaluated.
        """
        if (estimator, protocol) not in self.predictions:
            known = ", ".join(f"({name!r}, {kind!r})" for name, kind in self.predictions)
            raise ValueError(f"({estimator!r}, {protocol!r}) was not evaluated. Choose one of {known}.")
        return self.predictions[estimator, protocol]

    def summary_table(self) -> Any:
        """Return `summary` as a DataFrame, or as it is where pandas is not installed."""
        return tables.tidy(self.summary())

    def folds_table(self) -> Any:
        """Return a row per protocol, estimator and fold: a DataFrame, or a list of dict where pandas is missing."""
        return tables.tidy([asdict(row) for row in self.folds])

    def subject_table(self) -> Any:
        """Return `subject_scores` of all: a DataFrame, or a list of dict where pandas is not installed.

        It is empty where subjects were not given.
        """
        return tables.tidy(
            [
                {"protocol": protocol, "estimator": estimator} | row
                for (estimator, protocol), pooled in self.predictions.items()
                if pooled.subject is not None
                for row in self.subject_scores(estimator, protocol)
            ]
        )

    def class_table(self) -> Any:
        """Return a row per protocol, estimator and class: n (images), precision, recall, f1, of all test rows.

        A DataFrame, or a list of dict where pandas is not installed. `sklearn.metrics.classification_report` on
        ``y_true`` and ``y_pred`` of `predictions` prints the same numbers.
        """
        return tables.tidy([row for key in self.predictions for row in tables.class_rows(self, *key)])

    def to_text(self) -> str:
        """Write the summary as an aligned table, followed by what every protocol means, and what its test rows share.

        Returns
        -------
        text : str
            Accuracies in per cent with their standard deviation over folds, and with the 95 % interval of the mean
            over subjects; log loss in nats.
        """
        return tables.to_text(self)

    def to_json(self, path: str | Path | None = None, *, predictions: bool = True) -> str:
        """Write everything but the fitted estimators as JSON; `from_json` reads it.

        Parameters
        ----------
        path : str, Path or None, default=None
            A file to write as well, whole or not at all.
        predictions : bool, default=True
            Whether the predictions are written too: some 150 bytes an image, estimator and protocol. Without them
            `from_json` cannot read it.

        Returns
        -------
        text : str
            Keys: format, classes, settings, leakage, summary, folds, confusion_matrices (rows: true class;
            counts, and shares averaged over folds as in the paper's Table II), predictions.
        """
        matrices = [
            {
                "estimator": key[0],
                "protocol": key[1],
                "counts": self.confusion_matrix(*key).tolist(),
                "averaged": self.confusion_matrix(*key, normalize="true", average="folds").tolist(),
            }
            for key in self.predictions
        ]
        content = {
            "format": FORMAT,
            "classes": self.classes.tolist(),
            "settings": self.settings,
            "leakage": self.leakage,
            "summary": self.summary(),
            "folds": [asdict(row) for row in self.folds],
            "confusion_matrices": matrices,
        }
        if predictions:
            content["predictions"] = [_predictions_to_json(key, pooled) for key, pooled in self.predictions.items()]
        # A line for every key: to be looked at, and without a line for every probability.
        lines = [f"  {json.dumps(key)}: {json.dumps(value, default=str)}" for key, value in content.items()]
        text = "{\n" + ",\n".join(lines) + "\n}"
        if path is not None:
            write_atomically(path, (text + "\n").encode())
        return text

    @classmethod
    def from_json(cls, source: str | Path) -> EvaluationResult:
        """Read what `to_json` wrote; the fitted estimators are not part of it.

        Parameters
        ----------
        source : str or Path
            The text, or the file.

        Returns
        -------
        result : EvaluationResult
            The same scores and predictions; labels and subjects as JSON keeps them: text, numbers, booleans.

        Raises
        ------
        ValueError
            If it is something else, or was written without predictions.
        """
        try:
            text = str(source) if str(source).lstrip().startswith("{") else Path(source).read_text(encoding="utf-8")
            content = json.loads(text)
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']!r}, not {FORMAT}: another version of flowexpr wrote it")
            named = {(each["estimator"], each["protocol"]): each for each in content["predictions"]}
            return cls(
                classes=np.array(content["classes"]),
                folds=[FoldScore(**row) for row in content["folds"]],
                predictions={key: _predictions_from_json(each) for key, each in named.items()},
                settings=content["settings"],
                leakage=content["leakage"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                "what EvaluationResult.to_json wrote, predictions included, was expected, but came something else "
                f"({type(error).__name__}: {error}). Pass that text or file."
            ) from error


def _predictions_to_json(key: tuple[str, str], pooled: Predictions) -> dict[str, Any]:
    columns = {name: None if column is None else column.tolist() for name, column in vars(pooled).items()}
    return {"estimator": key[0], "protocol": key[1], **columns}


def _predictions_from_json(content: dict[str, Any]) -> Predictions:
    columns: dict[str, Any] = {
        name: None if content.get(name) is None else np.array(content[name])
        for name in Predictions.__dataclass_fields__
    }
    return Predictions(**columns)
