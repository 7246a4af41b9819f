"""Whether probabilities can be believed, and one number that makes them as sure as held-out data warrant.

References
----------
.. [1] Guo et al., "On Calibration of Modern Neural Networks", 2017, https://arxiv.org/abs/1706.04599
.. [2] Nguyen & O'Connor, "Posterior calibration and exploratory analysis for natural language processing models",
   2015, https://arxiv.org/abs/1508.05154
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from flowexpr.parameters import is_int

__all__ = [
    "ReliabilityBins",
    "expected_calibration_error",
    "fit_temperature",
    "reliability_bins",
    "simulate_calibration_error",
]

TEMPERATURES = (0.1, 1e3)
"""Smallest and largest temperature."""

PRIOR_STD = 0.5
"""Standard deviation of log temperature before any sample was seen: most models need one within 0.4 to 2.7."""

LARGEST_ROUNDING = 1e-3
"""By which the probabilities of a sample may differ from a sum of 1."""

CORRELATION = 0.5
"""Of the log losses of two frames of one person."""


def fit_temperature(
    log_likelihood: NDArray[np.float64],
    log_prior: NDArray[np.float64],
    y: NDArray[np.int64],
    groups: NDArray[Any] | None = None,
) -> float:
    """Return the most probable temperature [1]_ given held-out samples, near 1 unless they speak clearly.

    Few people leave the temperature open, and the smallest log loss on three of them, who may all be recognised, asks
    for far too sure probabilities. So the log loss is added to the prior that log temperature ~ N(0, `PRIOR_STD`), and
    frames of one person, which resemble each other, count as fewer than they are.

    Parameters
    ----------
    log_likelihood : ndarray of shape (n_samples, n_classes)
        Class log-likelihoods up to a constant a row, nats.
    log_prior : ndarray of shape (n_classes,)
        Log-probability of every class, which the temperature does not divide.
    y : ndarray of shape (n_samples,)
        Class indices.
    groups : ndarray of shape (n_samples,), default=None
        The person of every sample; None takes every sample for another one.

    Returns
    -------
    temperature : float
        Between 0.1 and 1000; above 1 the probabilities become less sure.
    """
    weight = np.ones(len(y))
    if groups is not None:
        _, person, n_samples = np.unique(groups, return_inverse=True, return_counts=True)
        weight = 1 / (1 + (n_samples[person] - 1) * CORRELATION)  # the design effect of a cluster sample

    def loss(log_temperature: float) -> float:
        logits = log_likelihood / math.exp(log_temperature) + log_prior
        log_probability = log_softmax(logits, axis=1)[np.arange(len(y)), y]
        return float(0.5 * (log_temperature / PRIOR_STD) ** 2 - weight @ log_probability)

    low, high = map(math.log, TEMPERATURES)
    # A coarse grid first, since the loss need not have one minimum only.
    grid = np.linspace(low, high, 61)
    start = float(grid[np.argmin([loss(t) for t in grid])])
    step = float(grid[1] - grid[0])
    bounds = (max(start - step, low), min(start + step, high))
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)


class ReliabilityBins(NamedTuple):
    """Predictions in bins of equal mass, from the least to the most confident.

    Attributes
    ----------
    confidence : ndarray of shape (n_bins,)
        Mean of the largest probability in every bin.
    accuracy : ndarray of shape (n_bins,)
        Share of right predictions.
    n_samples : ndarray of shape (n_bins,)
        Number of predictions; they differ by one at most.
    """

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    n_samples: NDArray[np.int64]


def reliability_bins(proba: ArrayLike, y_index: ArrayLike, n_bins: int = 10) -> ReliabilityBins:
    """Sort predictions by confidence into bins of equal mass.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probability of every class.
    y_index : ndarray of shape (n_samples,)
        Column of the true class.
    n_bins : int, default=10
        Number of bins; no more than there are samples are made.

    Returns
    -------
    bins : ReliabilityBins
        Mean confidence, accuracy and number of predictions in every bin.

    Raises
    ------
    ValueError
        If rows of `proba` are no probabilities, `y_index` holds no column for each, or `n_bins` is no positive integer.
    """
    proba, y_index = check_predictions(proba, y_index)
    _check_n_bins(n_bins)
    return _bins(proba.max(1), proba.argmax(1) == y_index, n_bins)


def check_predictions(proba: ArrayLike, y_index: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return probabilities (n_samples, n_classes) and columns (n_samples,) as arrays; raise where they are not.

    Raises
    ------
    ValueError
        Naming what was expected.
    """
    rows = check_probabilities(proba)
    columns = np.asarray(y_index)
    if columns.shape != (len(rows),):
        raise ValueError(
            f"one true class was expected for each of {len(rows)} rows of probabilities, but y has shape "
            f"{columns.shape}."
        )
    if columns.dtype.kind not in "iu" or (columns < 0).any() or (columns >= rows.shape[1]).any():
        raise ValueError(
            f"true classes were expected as columns, integers from 0 to {rows.shape[1] - 1}, but y holds "
            f"{columns.tolist()[0]!r}, say. Pass np.searchsorted(classes, y)."
        )
    return rows, columns.astype(np.int64)


def check_probabilities(proba: ArrayLike) -> NDArray[np.float64]:
    """Return probabilities (n_samples, n_classes) as an array; raise a ValueError where they are none."""
    rows = np.asarray(proba, dtype=np.float64)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"probabilities of shape (n_samples, n_classes) were expected, but have shape {rows.shape}.")
    off = np.abs(rows.sum(1) - 1)
    if not (rows >= 0).all() or not (off <= LARGEST_ROUNDING).all():  # also where they are not a number
        raise ValueError(
            "rows of probabilities were expected, none below 0 and each with a sum of 1, but they run from "
            f"{rows.min():.3g} to {rows.max():.3g}, and sums from {rows.sum(1).min():.3g} to {rows.sum(1).max():.3g}. "
            "Pass what predict_proba returned."
        )
    return rows


def expected_calibration_error(proba: ArrayLike, y_index: ArrayLike, n_bins: int = 10) -> float:
    """Return how far confidence and accuracy lie apart, on average over bins of equally many samples.

    Bins of equal mass [2]_ keep the estimate steady where nearly all confidences are near 1, as those of a network are.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        Class probabilities.
    y_index : array-like of shape (n_samples,)
        The true classes, as columns of `proba`.
    n_bins : int, default=10
        Bins of the samples, sorted by confidence; fewer where there are fewer samples.

    Returns
    -------
    error : float
        Mean over samples of the distance between accuracy and mean confidence of their bin, between 0 and 1.

    Raises
    ------
    ValueError
        If rows of `proba` are no probabilities, `y_index` holds no column for each, or `n_bins` is no positive integer.

    Examples
    --------
    >>> from flowexpr.calibration import expected_calibration_error
    >>> round(expected_calibration_error([[0.8, 0.2]] * 4, [0, 0, 0, 1], n_bins=1), 3)  # sure to 80 %, right in 75 %
    0.05
    """
    return _calibration_error(reliability_bins(proba, y_index, n_bins))


def simulate_calibration_error(
    proba: ArrayLike, n_bins: int = 10, *, n_draws: int = 1000, random_state: int = 0
) -> NDArray[np.float64]:
    """Return the calibration errors that the same probabilities would show if they were perfect.

    The true class of every sample is drawn from its row, again and again. An observed error above the 95th percentile
    of these speaks against the probabilities; one below may be chance.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        Probability of every class.
    n_bins : int, default=10
        Number of bins.
    n_draws : int, default=1000
        Number of simulated data sets.
    random_state : int, default=0
        Seed of the draws.

    Returns
    -------
    errors : ndarray of shape (n_draws,)
        Expected calibration errors.

    Examples
    --------
    >>> import numpy as np
    >>> from flowexpr.calibration import simulate_calibration_error
    >>> proba = np.tile([0.8, 0.2], (100, 1))
    >>> float(simulate_calibration_error(proba, n_bins=1).mean().round(2))
    0.03
    """
    _check_n_bins(n_bins)
    random = np.random.default_rng(random_state)
    confidence = check_probabilities(proba).max(1)
    draws = random.random((n_draws, len(confidence))) <= confidence
    return np.array([_calibration_error(_bins(confidence, right, n_bins)) for right in draws])


def _bins(confidence: NDArray[np.float64], right: NDArray[np.bool_], n_bins: int) -> ReliabilityBins:
    bins = np.array_split(np.argsort(confidence, kind="stable"), min(n_bins, len(confidence)))
    return ReliabilityBins(
        np.array([confidence[members].mean() for members in bins]),
        np.array([right[members].mean() for members in bins]),
        np.array([len(members) for members in bins]),
    )


def _calibration_error(bins: ReliabilityBins) -> float:
    return float(np.average(np.abs(bins.confidence - bins.accuracy), weights=bins.n_samples))


def _check_n_bins(n_bins: Any) -> None:
    if not is_int(n_bins) or n_bins < 1:
        raise ValueError(f"n_bins={n_bins!r} was expected to be an integer of at least 1.")
