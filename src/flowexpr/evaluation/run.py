"""The loop of an evaluation: every estimator on every fold of every protocol, cloned, fitted, scored."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import accuracy_score, log_loss, recall_score
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import has_fit_parameter

from flowexpr.evaluation.protocols import PROTOCOLS, group_codes, make_splits
from flowexpr.evaluation.result import EvaluationResult, FoldScore, Predictions

__all__ = ["evaluate"]


def evaluate(
    estimators: Mapping[str, BaseEstimator],
    X: ArrayLike,
    y: ArrayLike,
    *,
    subject: ArrayLike | None = None,
    clip: ArrayLike | None = None,
    protocols: Sequence[str] = ("random", "subject"),
    n_splits: int = 5,
    random_state: int = 0,
    max_folds: int | None = None,
    progress: bool = False,
    return_estimators: bool = False,
) -> EvaluationResult:
    """Cross-validate classifiers on identical folds, under one protocol or several.

    Parameters
    ----------
    estimators : dict of str to classifier
        Unfitted classifiers with `predict_proba`; each is cloned for every fold. Where `fit` takes `groups`,
        it gets the training rows' subjects (their clips, if no subjects are given), so that a validation set
        held out inside `fit` does not leak either.
    X : array-like of shape (n_samples, ...)
        Images or rows, as the estimators take them.
    y : array-like of shape (n_samples,)
        Labels.
    subject, clip : array-like of shape (n_samples,) or None, default=None
        Who is seen, and in which recording. Clip names need to be unique only within a subject.
    protocols : sequence of {"random", "clip", "subject"}, default=("random", "subject")
        "random" is the paper's "uniform folds of the entire dataset": `StratifiedKFold`, shuffled. "clip" is
        `StratifiedGroupKFold`, shuffled, since clips are often numbered class by class. "subject" is
        `GroupKFold` as it stands, without shuffling: its folds are balanced in size and are those of anybody
        who writes `cv=GroupKFold(n_splits)`, so numbers can be compared.
    n_splits : int, default=5
        Number of folds.
    random_state : int, default=0
        Seed of the random folds, and of those by clip. The estimators keep their own seeds.
    max_folds : int or None, default=None
        Run only the first folds of every protocol, to save time; scores then come from fewer test rows.
    progress : bool, default=False
        Write a line to stderr after every fold.
    return_estimators : bool, default=False
        Keep the fitted estimators in the result.

    Returns
    -------
    result : EvaluationResult
        Scores, pooled predictions, confusion matrices.

    Raises
    ------
    ValueError
        If an estimator has no `predict_proba`, a protocol is unknown or lacks its groups, there are fewer
        groups than folds, fewer than two classes, also in one training fold, or lengths differ. All of these
        come before any training.
    LeakageError
        If a subject or clip stands on both sides of a split that promises otherwise.

    Examples
    --------
    >>> import numpy as np
    >>> from flowexpr.baselines import pca_lda
    >>> from flowexpr.evaluation import evaluate
    >>> subject, y = np.repeat(np.arange(10), 4), np.tile([0, 1], 20)
    >>> X = np.random.default_rng(0).normal(size=(40, 8, 8)) + y[:, None, None]
    >>> result = evaluate({"linear": pca_lda()}, X, y, subject=subject)
    >>> [(row["protocol"], row["accuracy"]) for row in result.summary()]
    [('random', 1.0), ('subject', 1.0)]
    """
    X, y = np.asarray(X), np.asarray(y)
    check_consistent_length(X, y, subject, clip)
    groups = group_codes(subject, clip)
    _check_request(estimators, protocols, groups, n_splits, max_folds)
    if len(np.unique(y)) < 2:
        raise ValueError(f"at least two classes were expected, but y has {np.unique(y).tolist()} only.")
    splits = {name: make_splits(name, y, groups, n_splits, random_state)[:max_folds] for name in protocols}
    result = EvaluationResult(
        classes=np.unique(y),
        folds=[],
        predictions={},
        settings=_settings(protocols, n_splits, random_state, max_folds, len(X), groups),
    )
    run = _Run(result, X, y, groups.get("subject", groups.get("clip")), progress, return_estimators)
    for protocol, folds in splits.items():
        for name, estimator in estimators.items():
            run.cross_validate(name, estimator, protocol, folds)
    return result


@dataclass
class _Run:
    """The data of one call of `evaluate`, and where its rows go."""

    result: EvaluationResult
    X: np.ndarray
    y: np.ndarray
    fit_groups: np.ndarray | None
    progress: bool
    keep: bool

    def cross_validate(
        self, name: str, estimator: BaseEstimator, protocol: str, folds: list[tuple[np.ndarray, np.ndarray]]
    ) -> None:
        probas, kept = [], []
        for fold, (train, test) in enumerate(folds):
            fitted, proba, score = self._one_fold(name, estimator, protocol, fold, train, test)
            probas.append(proba)
            self.result.folds.append(score)
            if self.keep:
                kept.append(fitted)
            if self.progress:
                seconds = score.fit_seconds + score.predict_seconds
                place = f"{protocol} fold {fold + 1} of {len(folds)}, {name}"
                print(f"{place}: accuracy {score.accuracy:.1%} ({seconds:.1f} s)", file=sys.stderr, flush=True)
        index = np.concatenate([test for _, test in folds])
        proba = np.concatenate(probas)
        self.result.predictions[name, protocol] = Predictions(
            index=index,
            fold=np.repeat(np.arange(len(folds)), [len(test) for _, test in folds]),
            y_true=self.y[index],
            y_pred=self.result.classes[proba.argmax(axis=1)],
            proba=proba,
        )
        if self.keep:
            self.result.estimators[name, protocol] = kept

    def _one_fold(
        self,
        name: str,
        estimator: BaseEstimator,
        protocol: str,
        fold: int,
        train: np.ndarray,
        test: np.ndarray,
    ) -> tuple[BaseEstimator, np.ndarray, FoldScore]:
        fitted, fit_params = clone(estimator), {}
        if self.fit_groups is not None and has_fit_parameter(fitted, "groups"):
            fit_params["groups"] = self.fit_groups[train]
        start = time.perf_counter()
        fitted.fit(self.X[train], self.y[train], **fit_params)
        middle = time.perf_counter()
        proba = _aligned_proba(fitted, self.X[test], self.result.classes)
        end = time.perf_counter()
        y_true, y_pred = self.y[test], self.result.classes[proba.argmax(axis=1)]
        score = FoldScore(
            estimator=name,
            protocol=protocol,
            fold=fold,
            n_train=len(train),
            n_test=len(test),
            accuracy=float(accuracy_score(y_true, y_pred)),
            # Balanced accuracy over the classes that the fold holds; sklearn's own warns where it lacks one.
            balanced_accuracy=float(recall_score(y_true, y_pred, labels=np.unique(y_true), average="macro")),
            log_loss=float(log_loss(y_true, proba, labels=self.result.classes)),
            fit_seconds=middle - start,
            predict_seconds=end - middle,
        )
        return fitted, proba, score


def _check_request(
    estimators: Mapping[str, BaseEstimator],
    protocols: Sequence[str],
    groups: dict[str, np.ndarray],
    n_splits: int,
    max_folds: int | None,
) -> None:
    if not estimators:
        raise ValueError("estimators is empty. Pass a dict of names to unfitted classifiers.")
    for name, estimator in estimators.items():
        if not hasattr(estimator, "predict_proba"):
            raise ValueError(
                f"estimators[{name!r}] has no predict_proba, which the log loss needs. Wrap it in "
                "sklearn.calibration.CalibratedClassifierCV."
            )
    if max_folds is not None and max_folds < 1:
        raise ValueError(f"max_folds should be at least 1 or None, but is {max_folds}.")
    if isinstance(protocols, str) or not protocols or not set(protocols) <= set(PROTOCOLS):
        raise ValueError(f"protocols should be a sequence of {sorted(PROTOCOLS)}, but is {protocols!r}.")
    if not isinstance(n_splits, Integral) or n_splits < 2:
        raise ValueError(f"n_splits should be an integer of at least 2, but is {n_splits!r}.")
    for protocol in protocols:
        if protocol == "random":
            continue
        if protocol not in groups:
            raise ValueError(
                f"The protocol {protocol!r} needs {protocol}=, one name an image. Pass it, or leave the protocol out."
            )
        n_groups = int(groups[protocol].max()) + 1
        if n_groups < n_splits:
            if n_groups < 2:
                raise ValueError(
                    f"the protocol {protocol!r} needs at least two {protocol}s, but there is one. Pass the {protocol} "
                    "of every image, or leave the protocol out."
                )
            raise ValueError(
                f"n_splits={n_splits} needs at least as many {protocol}s, but there are {n_groups}. "
                f"Use n_splits={n_groups} or fewer."
            )


def _aligned_proba(fitted: Any, X: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Probabilities in the order of `classes`, 0 for a class that the training fold did not hold."""
    proba = np.zeros((len(X), len(classes)))
    proba[:, np.searchsorted(classes, fitted.classes_)] = fitted.predict_proba(X)
    # Rows in float32 sum to 1 only within its rounding, of which log_loss warns.
    return proba / proba.sum(axis=1, keepdims=True)


def _settings(
    protocols: Sequence[str],
    n_splits: int,
    random_state: int,
    max_folds: int | None,
    n_samples: int,
    groups: dict[str, np.ndarray],
) -> dict[str, Any]:
    counts = {f"n_{kind}s": int(codes.max()) + 1 for kind, codes in groups.items()}
    return {
        "protocols": list(protocols),
        "n_splits": n_splits,
        "random_state": random_state,
        "max_folds": max_folds,
        "n_samples": n_samples,
        **counts,
    }
