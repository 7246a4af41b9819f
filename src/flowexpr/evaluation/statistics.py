"""How sure a score is: intervals and paired comparisons over people, not over images.

Images of one person are right or wrong together, so that n images are far less than n independent trials; the people
are what was drawn at random. An interval is that of Student's t on their means: with ten to thirty people the
percentile bootstrap is too narrow [1]_, and counting images instead makes it several times too narrow [2]_.

References
----------
.. [1] Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 69(4), 2015,
   https://arxiv.org/abs/1411.5279
.. [2] Miller, "Adding Error Bars to Evals", 2024, https://arxiv.org/abs/2411.00640
"""

from __future__ import annotations

import numpy as np
from scipy import stats

__all__ = ["mean_interval", "wilcoxon_p"]

CONFIDENCE = 0.95


def mean_interval(
    values: np.ndarray, low: float = -np.inf, high: float = np.inf
) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % t-interval of a mean, cut off at the bounds of what is measured.

    Parameters
    ----------
    values : ndarray of shape (n,)
        One value per person.
    low, high : float, default=-inf, inf
        Smallest and largest possible mean.

    Returns
    -------
    low, high : float or None
        The interval; None for fewer than two values. Values all alike give one without width, which says nothing.
    """
    n = len(values)
    if n < 2:
        return None, None
    half = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n)
    return float(max(np.mean(values) - half, low)), float(min(np.mean(values) + half, high))


def wilcoxon_p(differences: np.ndarray) -> float:
    """Return the two-sided p-value of Wilcoxon's signed-rank test; 1 where no pair differs.

    Parameters
    ----------
    differences : ndarray of shape (n,)
        One paired difference per person.

    Returns
    -------
    p_value : float
        The probability of ranks so uneven, were the differences symmetric about zero.
    """
    not_equal = differences[differences != 0]  # all that the test counts: SciPy before 1.13 warns of others
    return float(stats.wilcoxon(not_equal).pvalue) if len(not_equal) else 1.0
