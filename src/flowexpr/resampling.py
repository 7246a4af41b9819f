"""New faces drawn around the latents of given ones: rare expressions made as common as the others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowexpr.parameters import is_int

__all__ = ["LatentGaussians", "choose_measured", "missing_labels"]

MOST_PER_CLASS = 256
"""Samples of a class whose latents are measured, at most."""

LARGEST_RANK = 60
"""Directions in which samples deviate from the mean of their class, at most."""


class LatentGaussians:
    """One Gaussian per class on all latents together, of low rank and with the same covariance for every class [1]_.

    `FlowExpressionClassifier.sample` draws from the prior that the flow was trained towards, and the latents match it
    only after long training. This takes the latents as they are instead.

    Parameters
    ----------
    levels : sequence of ndarray of shape (n, ...)
        The latents z1, z2, ... of n samples.
    y : ndarray of shape (n,)
        Class indices; every class from 0 to the largest has samples.

    References
    ----------
    .. [1] Ghosh et al., "From Variational to Deterministic Autoencoders", 2020 ("ex-post density estimation"),
       https://arxiv.org/abs/1903.12436
    """

    def __init__(self, levels: Sequence[NDArray[Any]], y: NDArray[np.int64]) -> None:
        from sklearn.decomposition import PCA  # late: it brings all linear models along

        rows = np.concatenate([level.reshape(len(level), -1) for level in levels], axis=1)
        self.shapes = [level.shape[1:] for level in levels]
        self.means = np.stack([rows[y == label].mean(axis=0) for label in range(y.max() + 1)])
        deviations = rows - self.means[y]
        rank = min(LARGEST_RANK, *rows.shape)
        # The seed chooses the directions that the solver starts from, which hardly matters; the draws have their own.
        pca = PCA(rank, random_state=0).fit(deviations)
        # Every class has taken its mean from its samples, so that they vary less than the class does.
        variance = pca.explained_variance_ * (len(rows) - 1) / max(1, len(rows) - len(self.means))
        self.directions = pca.components_ * np.sqrt(variance)[:, np.newaxis]

    def draw_deviations(self, n_samples: int, temperature: float, random: np.random.RandomState) -> NDArray[Any]:
        """Draw deviations from a class mean, (n_samples, n_features); `temperature` scales them."""
        return temperature * random.normal(size=(n_samples, len(self.directions))) @ self.directions

    def latents(self, y: NDArray[np.int64], deviations: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Return the latents z1, z2, ... of the classes y (n,) with the given deviations (n, n_features)."""
        rows = (self.means[y] + deviations).astype(np.float32)
        ends = np.cumsum([np.prod(shape) for shape in self.shapes])
        parts = np.split(rows, ends[:-1].astype(int), axis=1)
        return [part.reshape(len(y), *shape) for part, shape in zip(parts, self.shapes, strict=True)]


def choose_measured(y: NDArray[np.int64], random: np.random.RandomState) -> NDArray[np.int64]:
    """Return the samples whose latents are measured: all of a class, or `MOST_PER_CLASS` at random."""
    members = [np.flatnonzero(y == label) for label in range(y.max() + 1)]
    chosen = [m if len(m) <= MOST_PER_CLASS else random.choice(m, MOST_PER_CLASS, replace=False) for m in members]
    return np.sort(np.concatenate(chosen))


def missing_labels(y: NDArray[np.int64], n_classes: int, n_per_class: int | None) -> NDArray[np.int64]:
    """Return the class indices of the samples that every class lacks to have `n_per_class`, or as many as the largest.

    Raises
    ------
    ValueError
        If `n_per_class` is no positive integer, a class has no sample to start from, or no class has two.
    """
    if n_per_class is not None and not (is_int(n_per_class) and n_per_class >= 1):
        raise ValueError(
            f"n_per_class was expected to be an integer of at least 1, but is {n_per_class!r}. Pass None for as many "
            "as the largest class has."
        )
    counts = np.bincount(y[y >= 0], minlength=n_classes)
    if not counts.all():
        raise ValueError(
            f"samples of every class were expected, but counts are {counts.tolist()} in the order of classes_. "
            "Pass some of each: new ones are drawn around their latents."
        )
    if counts.max() == 1:
        raise ValueError(
            "two samples of some class at least were expected, but X holds one of each: nothing tells how samples of a "
            "class differ, and what is generated would be copies. Pass more samples."
        )
    wanted = counts.max() if n_per_class is None else n_per_class
    return np.repeat(np.arange(n_classes), np.maximum(wanted - counts, 0))
