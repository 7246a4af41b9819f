"""How typical a sample is of what a flow was trained on: a test on the parts of log p(x), not on their sum.

The sum does not tell what is foreign: a flow gives plain images a higher likelihood than its own training faces, and
faces upside down the same one [1]_. So the parts are compared instead [2]_: the log-determinant and the log-density of
every level, the deepest latent z1, and for every other latent the map of how far each place lies from what the level
below makes one expect there. Each of these views is a vector, whose distance from those of the training samples is
measured in a Gaussian of low rank; views in which a sample lies unusually far count most, as in density of states
estimation [3]_. The typicality is the share of faces of *other* people that lie farther: the Gaussians that the
training samples are compared with have not seen the people they show.

References
----------
.. [1] Nalisnick et al., "Do Deep Generative Models Know What They Don't Know?", 2019,
   https://arxiv.org/abs/1810.09136
.. [2] Nalisnick et al., "Detecting Out-of-Distribution Inputs to Deep Generative Models Using Typicality", 2019,
   https://arxiv.org/abs/1906.02994
.. [3] Morningstar et al., "Density of States Estimation for Out-of-Distribution Detection", 2021,
   https://arxiv.org/abs/2006.09273
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.model_selection import GroupKFold
from sklearn.utils.extmath import randomized_svd

__all__ = ["MOST_SAMPLES", "TypicalityReference"]

Array = NDArray[np.float64]

MOST_SAMPLES = 1000
"""Training samples that a reference is measured on, at most."""

RANKS = {"levels": 16, "z1": 64}
"""Largest rank of the Gaussian of each view; see `MAP_RANK` for all others."""
MAP_RANK = 16

SAMPLES_PER_RANK = 4
"""Fewest samples for each direction of a Gaussian."""

N_FOLDS = 5
"""Parts of the training samples, each compared with the others."""

N_CLUSTERS = 20
"""Groups of similar samples that stand for the people where nobody says who they are."""

SMALLEST_VARIANCE = 1e-3
"""Of any direction of a Gaussian, where every feature has variance 1."""

HANDICAP = 2.0
"""Spreads by which every view but z1 has to stand out more: z1 sees the whole face, and which way up it is."""

TAIL_SHARE = 0.1
"""Share of the training samples whose scores the tail beyond all of them is fitted to."""


class Gaussian(NamedTuple):
    """A Gaussian of low rank: full variances along its components, one for all directions beyond them.

    Attributes
    ----------
    mean, scale : ndarray of shape (d,)
        Of each feature.
    components : ndarray of shape (rank, d)
        Directions of largest variance of the standardised features.
    variance : ndarray of shape (rank + 1,)
        Along each component, and at last in any other direction.
    """

    mean: Array
    scale: Array
    components: Array
    variance: Array

    @classmethod
    def of(cls, X: Array, rank: int) -> Self:
        """Fit to rows X (n, d); the rank is lower where they are few."""
        n, d = X.shape
        mean, scale = X.mean(0), X.std(0)
        scale = np.where(scale > 1e-6 * (1 + np.abs(mean)), scale, 1.0)
        standard = (X - mean) / scale
        rank = min(rank, d - 1, n // SAMPLES_PER_RANK)
        total, components, variance = standard.var(0).sum(), np.zeros((0, d)), np.zeros(0)
        if rank:
            _, singular, components = randomized_svd(standard, rank, power_iteration_normalizer="QR", random_state=0)
            variance = singular**2 / n
        rest = max((total - variance.sum()) / (d - rank), SMALLEST_VARIANCE)
        return cls(mean, scale, components, np.append(np.maximum(variance, SMALLEST_VARIANCE), rest))

    def log_distance(self, X: Array) -> Array:
        """Return the log of the mean squared distance of rows X (n, d) from the mean, in standard deviations."""
        standard = (X - self.mean) / self.scale
        along = standard @ self.components.T
        beyond = np.maximum((standard**2).sum(1) - (along**2).sum(1), 0)
        squared = (along**2 / self.variance[:-1]).sum(1) + beyond / self.variance[-1]
        return np.log(squared / X.shape[1] + 1e-12)


class TypicalityReference(NamedTuple):
    """What the training samples of a flow looked like to it, in arrays that hold none of them.

    Attributes
    ----------
    gaussians : tuple of Gaussian
        One a view.
    centre, spread : ndarray of shape (n_views,)
        Median of each view's log-distance over samples of unseen people, the handicap added, and 1.48 times its median
        deviation.
    scores : ndarray of shape (n_samples,)
        Scores of samples of unseen people, ascending.
    """

    gaussians: tuple[Gaussian, ...]
    centre: Array
    spread: Array
    scores: Array

    @classmethod
    def of(cls, views: dict[str, Array], groups: NDArray[Any] | None) -> Self:
        """Measure training samples.

        Parameters
        ----------
        views : dict of str to ndarray of shape (n_samples, ...)
            As `Predictor.views` returns them.
        groups : ndarray of shape (n_samples,) or None
            The people. None takes clusters of z1 instead: frames of one person are similar.
        """
        ranks = [RANKS.get(name, MAP_RANK) for name in views]
        arrays = list(views.values())
        if groups is None or len(np.unique(groups)) < 2:
            groups = _clusters(views["z1"])
        unseen = np.empty((len(groups), len(views)))
        for training, test in _folds(groups):
            gaussians = _fit([view[training] for view in arrays], ranks)
            unseen[test] = _log_distances(gaussians, [view[test] for view in arrays])
        centre = np.median(unseen, axis=0)
        spread = np.maximum(1.4826 * np.median(np.abs(unseen - centre), axis=0), 1e-3)
        centre += spread * [0.0 if name == "z1" else HANDICAP for name in views]
        made = cls(_fit(arrays, ranks), centre, spread, np.zeros(0))
        return made._replace(scores=np.sort(made._combine(unseen)))

    def typicality(self, views: dict[str, Array]) -> Array:
        """Return the share of samples of unseen people that are less typical (n,), falling on beyond all of them."""
        score = self._combine(_log_distances(self.gaussians, list(views.values())))
        n = len(self.scores)
        share = np.interp(score, self.scores, np.linspace(n, 1, n) / (n + 1))
        in_tail = self.scores[-max(2, round(TAIL_SHARE * n)) :]
        decay = max(float(np.mean(in_tail) - in_tail[0]), 1e-6)
        beyond = np.maximum(score - self.scores[-1], 0)
        return share * np.exp(-beyond / decay)

    def to_arrays(self) -> dict[str, Array]:
        """Return every array by name, for a file."""
        named = {name: getattr(self, name) for name in ("centre", "spread", "scores")}
        for i, gaussian in enumerate(self.gaussians):
            named |= {f"{i}.{name}": array for name, array in gaussian._asdict().items()}
        return named

    @classmethod
    def from_arrays(cls, named: dict[str, Array]) -> Self:
        """Undo `to_arrays`."""
        gaussians = tuple(
            Gaussian(*(named[f"{i}.{name}"] for name in Gaussian._fields)) for i in range(len(named["centre"]))
        )
        return cls(gaussians, named["centre"], named["spread"], named["scores"])

    def _combine(self, log_distances: Array) -> Array:
        """Return one score per sample (n,), higher where it is less typical: a soft maximum over the views."""
        standard = (log_distances - self.centre) / self.spread
        return np.nan_to_num(logsumexp(standard, axis=1), nan=np.inf)


def _fit(views: Sequence[Array], ranks: Sequence[int]) -> tuple[Gaussian, ...]:
    return tuple(Gaussian.of(view, rank) for view, rank in zip(views, ranks, strict=True))


def _log_distances(gaussians: Sequence[Gaussian], views: Sequence[Array]) -> Array:
    return np.column_stack([fitted.log_distance(view) for fitted, view in zip(gaussians, views, strict=True)])


def _clusters(z1: Array) -> NDArray[np.int64]:
    if len(z1) < 2:
        return np.zeros(len(z1), dtype=np.int64)
    from scipy.cluster.hierarchy import fcluster, linkage  # late: slow to import

    return fcluster(linkage(z1, "ward"), N_CLUSTERS, "maxclust").astype(np.int64)


def _folds(groups: NDArray[Any]) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return pairs of training and test rows that share no group; all rows twice where there is one group only."""
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        return [(np.arange(len(groups)), np.arange(len(groups)))]
    return list(GroupKFold(min(N_FOLDS, n_groups)).split(groups, groups=groups))
