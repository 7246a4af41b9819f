"""Temperature scaling: one number that makes probabilities as sure as held-out data warrant.

References
----------
.. [1] Guo et al., "On Calibration of Modern Neural Networks", 2017, https://arxiv.org/abs/1706.04599
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

__all__ = ["fit_temperature"]

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
