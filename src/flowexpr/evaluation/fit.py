"""One estimator fitted on the training rows of one fold, and its outcome on the test rows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import accuracy_score, log_loss, recall_score
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import has_fit_parameter

from flowexpr.evaluation.result import FoldScore

__all__ = ["Fit", "Outcome", "fit_and_score", "searched"]


@dataclass(frozen=True)
class Fit:
    """What to do: an unfitted estimator, and row numbers of both sides of a split."""

    name: str
    protocol: str
    fold: int
    estimator: BaseEstimator
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """What came out: the score, probabilities (n_test, n_classes), and the fitted estimator where it is kept."""

    score: FoldScore
    proba: np.ndarray
    estimator: BaseEstimator | None


def fit_and_score(
    fit: Fit, X: Any, y: np.ndarray, groups: np.ndarray | None, classes: np.ndarray, *, keep: bool
) -> Outcome:
    """Clone the estimator, fit it on the training rows and score it on the test rows.

    Parameters
    ----------
    fit : Fit
        The estimator and the rows.
    X : ndarray or data frame of shape (n_samples, ...)
        All samples.
    y : ndarray of shape (n_samples,)
        All labels.
    groups : ndarray of shape (n_samples,) or None
        Passed on to estimators whose `fit` takes them, or a part of which does.
    classes : ndarray of shape (n_classes,)
        The sorted labels of all data.
    keep : bool
        Whether to return the fitted estimator as well.

    Returns
    -------
    outcome : Outcome
        Score, probabilities and, with `keep`, the estimator.
    """
    fitted = clone(fit.estimator)
    fit_params = {} if groups is None else _with_groups(fitted, groups[fit.train])
    start = time.perf_counter()
    fitted.fit(_take(X, fit.train), y[fit.train], **fit_params)
    middle = time.perf_counter()
    proba = _aligned_proba(fitted, _take(X, fit.test), classes)
    end = time.perf_counter()
    y_true, y_pred = y[fit.test], classes[proba.argmax(axis=1)]
    score = FoldScore(
        estimator=fit.name,
        protocol=fit.protocol,
        fold=fit.fold,
        n_train=len(fit.train),
        n_test=len(fit.test),
        accuracy=float(accuracy_score(y_true, y_pred)),
        # Balanced accuracy over the classes that the fold holds; sklearn's own warns where it lacks one.
        balanced_accuracy=float(recall_score(y_true, y_pred, labels=np.unique(y_true), average="macro")),
        log_loss=float(log_loss(y_true, proba, labels=classes)),
        fit_seconds=middle - start,
        predict_seconds=end - middle,
    )
    return Outcome(score, proba, fitted if keep else None)


def _take(X: Any, rows: np.ndarray) -> Any:
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def searched(estimator: BaseEstimator) -> BaseEstimator | None:
    """Return the estimator whose parameters a search chooses, as `GridSearchCV` and the like do; None of any other."""
    parameters = estimator.get_params(deep=False)
    is_search = parameters.keys() & {"param_grid", "param_distributions"}
    return parameters["estimator"] if is_search else None


def _with_groups(estimator: BaseEstimator, groups: np.ndarray) -> dict[str, np.ndarray]:
    """Return the parameters by which groups reach whatever in an estimator takes them; none where nothing does."""
    if has_fit_parameter(estimator, "groups"):
        return {"groups": groups}
    if get_config()["enable_metadata_routing"]:
        return {"groups": groups} if get_routing_for_object(estimator).consumes("fit", ["groups"]) else {}
    if searched(estimator) is not None:
        return {"groups": groups}  # for its splitter: without routing its estimator gets none
    if not isinstance(estimator, Pipeline):
        return {}
    name, last = estimator.steps[-1]
    return {f"{name}__{key}": value for key, value in _with_groups(last, groups).items()}


def _aligned_proba(fitted: Any, X: Any, classes: np.ndarray) -> np.ndarray:
    """Probabilities in the order of `classes`, 0 for a class that the training fold did not hold."""
    proba = np.zeros((len(X), len(classes)))
    proba[:, np.searchsorted(classes, fitted.classes_)] = fitted.predict_proba(X)
    # Rows in float32 sum to 1 only within its rounding, of which log_loss warns.
    return proba / proba.sum(axis=1, keepdims=True)
