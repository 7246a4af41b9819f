"""Whether probabilities can be believed, and one number that makes them as sure as held-out data warrant.

References
----------
.. [1] Guo et al., "On Calibration of Modern Neural Networks", 2017, https://arxiv.org/abs/1706.04599
.. [2] Naeini, Cooper & Hauskrecht, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015,
   https://ojs.aaai.org/index.php/AAAI/article/view/9602
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

__all__ = ["ReliabilityBins", "expected_calibration_error", "fit_temperature", "reliability_bins"]

TEMPERATURES = (0.1, 1e3)
"""Smallest and largest temperature: where all of a few held-out samples are right, the loss asks for none at all."""


def fit_temperature(log_likelihood: NDArray[np.float64], log_prior: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    """Return the temperature with the smallest log loss on held-out samples [1]_.

    Parameters
    ----------
    log_likelihood : ndarray of shape (n_samples, n_classes)
        Class log-likelihoods up to a constant a row, nats.
    log_prior : ndarray of shape (n_classes,)
        Log-probability of every class, which the temperature does not divide.
    y : ndarray of shape (n_samples,)
        Class indices.

    Returns
    -------
    temperature : float
        Between 0.1 and 1000; above 1 the probabilities become less sure.
    """

    def log_loss(log_temperature: float) -> float:
        logits = log_likelihood / math.exp(log_temperature) + log_prior
        return float(-log_softmax(logits, axis=1)[np.arange(len(y)), y].mean())

    low, high = map(math.log, TEMPERATURES)
    # A coarse grid first, since the loss is flat where every sample is right.
    grid = np.linspace(low, high, 61)
    start = float(grid[np.argmin([log_loss(t) for t in grid])])
    step = float(grid[1] - grid[0])
    bounds = (max(start - step, low), min(start + step, high))
    return math.exp(minimize_scalar(log_loss, bounds=bounds, method="bounded").x)


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


def reliability_bins(proba: NDArray[np.float64], y_index: NDArray[np.int64], n_bins: int = 10) -> ReliabilityBins:
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
    """
    confidence, right = proba.max(1), proba.argmax(1) == y_index
    bins = np.array_split(np.argsort(confidence, kind="stable"), min(n_bins, len(proba)))
    return ReliabilityBins(
        np.array([confidence[members].mean() for members in bins]),
        np.array([right[members].mean() for members in bins]),
        np.array([len(members) for members in bins]),
    )


def expected_calibration_error(proba: NDArray[np.float64], y_index: NDArray[np.int64], n_bins: int = 10) -> float:
    """Return the mean distance between confidence and accuracy over bins of equal mass [2]_.

    Even perfect probabilities do not reach 0: the accuracy in a bin of few samples scatters around its confidence.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probability of every class.
    y_index : ndarray of shape (n_samples,)
        Column of the true class.
    n_bins : int, default=10
        Number of bins.

    Returns
    -------
    error : float
        Between 0 and 1; 0 where the accuracy in every bin equals the mean confidence there.
    """
    bins = reliability_bins(proba, y_index, n_bins)
    return float(np.average(np.abs(bins.confidence - bins.accuracy), weights=bins.n_samples))
