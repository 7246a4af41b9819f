"""Which rows train and which are held out, for validation or calibration: random ones, or all of some people."""

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.utils import check_random_state

from flowexpr.exceptions import warn
from flowexpr.signals import ImageSignal
from flowexpr.training.data import TrainingData
from flowexpr.training.objective import UNLABELLED

if TYPE_CHECKING:
    from flowexpr.baselines import CNNExpressionClassifier
    from flowexpr.classifier import FlowExpressionClassifier

    Classifier: TypeAlias = FlowExpressionClassifier | CNNExpressionClassifier

__all__ = ["hold_out"]


def hold_out(
    estimator: "Classifier",
    rows: NDArray[Any],
    y: NDArray[np.int64],
    groups: NDArray[Any] | None,
) -> tuple[TrainingData, TrainingData | None]:
    """Hold out labelled rows (whole groups where there are groups) if anything needs them.

    Groups are drawn at random; those that would take the last training row of a class are passed over. For a
    temperature, fewer than asked for will do. Warns where it is fitted on images of people whom training may know.

    Parameters
    ----------
    estimator : FlowExpressionClassifier or CNNExpressionClassifier
        Its parameters say how much is held out and what for; gets `validation_`, how it was done.
    rows : ndarray of shape (n, n_features)
        Samples.
    y : ndarray of shape (n,)
        Class indices, `UNLABELLED` where there is none.
    groups : ndarray of shape (n,) or None
        The subject of every row.

    Returns
    -------
    training, held_out : TrainingData, TrainingData or None
        None where nothing is held out.

    Raises
    ------
    ValueError
        If the labelled rows are of one group only, or a class would have no training row left.
    """
    held_out = np.array([], dtype=np.int64)
    estimator.validation_ = "none"
    if estimator.validation_fraction is not None:
        labelled = np.flatnonzero(y != UNLABELLED)
        own_groups = None if groups is None else groups[labelled]
        estimator.validation_ = "random" if groups is None else "by group"
        held_out = labelled[_pick(estimator, y[labelled], own_groups, estimator.validation_fraction)]
    training = np.setdiff1d(np.arange(len(y)), held_out)
    if groups is not None and len(held_out):
        training = training[~np.isin(groups[training], np.unique(groups[held_out]))]
    _check_split(estimator, y, training, held_out)
    signal = estimator.signal_
    data = TrainingData(rows, y, training, signal, estimator.augment)
    return data, TrainingData(rows, y, held_out, signal) if len(held_out) else None


def _pick(
    estimator: "Classifier",
    y: NDArray[np.int64],
    groups: NDArray[Any] | None,
    fraction: float,
) -> NDArray[np.int64]:
    """Draw a share of the labelled rows, or of their groups; return the rows."""
    fewer = estimator.calibrate is not None
    if groups is None:
        if estimator.calibrate and isinstance(estimator.signal_, ImageSignal):
            warn(
                f"calibrate={estimator.calibrate!r} came without groups, so random rows are held out, whose people "
                "training may know: the probabilities will be too sure of new people. Pass the subject of every "
                "row as groups."
            )
        return _random_pick(y, fraction, estimator.seed_, fewer=fewer)
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        raise ValueError(
            "whole groups are held out for validation and calibration, so at least two were expected, but the "
            "labelled rows are of one. Pass the subject of every row as groups, or no groups."
        )
    return _pick_groups(y, groups, min(math.ceil(fraction * n_groups), n_groups - 1), estimator.seed_, fewer=fewer)


def _random_pick(y: NDArray[np.int64], fraction: float, seed: int, *, fewer: bool) -> NDArray[np.int64]:
    n_held_out, n_classes = min(math.ceil(fraction * len(y)), len(y) - 1), len(np.unique(y))
    stratified = np.bincount(y).min() >= 2 and min(n_held_out, len(y) - n_held_out) >= n_classes
    if not stratified:
        return _pick_groups(y, np.arange(len(y)), n_held_out, seed, fewer=fewer)
    splitter = StratifiedShuffleSplit(1, test_size=n_held_out, random_state=seed)
    return next(splitter.split(y[:, None], y))[1]


def _pick_groups(
    y: NDArray[np.int64], groups: NDArray[Any], n_held_out: int, seed: int, *, fewer: bool
) -> NDArray[np.int64]:
    """Draw groups, passing over those that alone show a class; return their rows.

    Where too few are left to draw (none at all, with `fewer`), they are drawn regardless: `_check_split` raises then.
    """
    names, group = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), y.max() + 1), dtype=np.int64)  # rows of every group and class
    np.add.at(counts, (group, y), 1)
    order = check_random_state(seed).permutation(len(names))
    remaining = counts.sum(0)
    taken: list[int] = []
    for candidate in order:
        if len(taken) < n_held_out and ((remaining > counts[candidate]) | (remaining == 0)).all():
            remaining = remaining - counts[candidate]
            taken.append(candidate)
    if len(taken) < (1 if fewer else n_held_out):
        taken = order[:n_held_out].tolist()
    return np.flatnonzero(np.isin(group, taken))


def _check_split(
    estimator: "Classifier",
    y: NDArray[np.int64],
    training: NDArray[np.int64],
    held_out: NDArray[np.int64],
) -> None:
    missing = np.setdiff1d(np.arange(len(estimator.classes_)), y[training])
    if len(missing):
        raise ValueError(
            f"after holding out {len(held_out)} rows ({estimator.validation_}), no training row is left of class "
            f"{estimator.classes_.tolist()[missing[0]]!r}. Pass more samples or more subjects of it, lower "
            "validation_fraction where it is set, or hold out nothing (validation_fraction=None, calibrate=None)."
        )
