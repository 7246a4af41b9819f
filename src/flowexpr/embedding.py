"""Latents in two dimensions: a map of all points at once, or a map of some into which others are placed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.pipeline import Pipeline

__all__ = ["METHODS", "embed", "embed_and_place", "has_latents", "latents_of"]

METHODS = {"tsne": "t-SNE", "umap": "UMAP", "pca": "principal components"}
N_COMPONENTS = 50
"""Principal components before t-SNE and UMAP, the usual number: noise goes, neighbours stay."""


def has_latents(estimator: Any) -> bool:
    """Tell whether an estimator, or all but the last step of a pipeline, transforms."""
    return hasattr(estimator[:-1] if isinstance(estimator, Pipeline) else estimator, "transform")


def latents_of(estimator: Any, X: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
    """Return the latents of a fitted estimator.

    Parameters
    ----------
    estimator : fitted transformer
        A flow, a CNN, or a pipeline, whose last step is left out.
    X : ndarray of shape (n_samples, ...)
        Images.
    y : ndarray of shape (n_samples,) or None, default=None
        The labels under which a flow's z'1 is taken; None takes the predicted ones.

    Returns
    -------
    latents : ndarray of shape (n_samples, n_values), float32
        A row per image.
    """
    if y is not None and hasattr(estimator, "encode"):
        latents = estimator.encode(X, y).z1_prime
    elif isinstance(estimator, Pipeline):
        latents = estimator[:-1].transform(X)
    else:
        latents = estimator.transform(X)
    return np.asarray(latents, dtype=np.float32).reshape(len(X), -1)


def embed(
    latents: np.ndarray, method: str = "tsne", random_state: int | np.random.RandomState | None = None
) -> np.ndarray:
    """Map all points together.

    Parameters
    ----------
    latents : ndarray of shape (n_samples, n_values)
        At least 5 points.
    method : {"tsne", "umap", "pca"}, default="tsne"
        How; "umap" needs umap-learn.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Returns
    -------
    places : ndarray of shape (n_samples, 2)
        Points of the map.

    Raises
    ------
    ValueError
        If the method is unknown or there are fewer than 5 points.
    ImportError
        If umap-learn is needed and not installed.
    """
    if method not in METHODS:
        raise ValueError(f'method was expected to be "tsne", "umap" or "pca", but is {method!r}.')
    if len(latents) < 5:
        raise ValueError(f"A map needs at least 5 images, but X has {len(latents)}.")
    latents = np.asarray(latents)
    if latents.shape[1] == 1:
        latents = np.column_stack([latents, np.zeros(len(latents))])  # a line
    if np.ptp(latents, axis=0).max() == 0:
        return np.zeros((len(latents), 2))  # t-SNE divides by their spread
    n_components = 2 if method == "pca" else min(N_COMPONENTS, *latents.shape)
    components = PCA(n_components, random_state=random_state).fit_transform(latents)
    if method == "pca":
        return components
    if method == "umap":
        return _umap(components, random_state)
    return TSNE(2, perplexity=_perplexity(len(latents)), init="pca", random_state=random_state).fit_transform(
        components
    )


def embed_and_place(
    train: np.ndarray, test: np.ndarray, random_state: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a t-SNE map to training points, then place test points into it, which stays as it is [1]_.

    Parameters
    ----------
    train, test : ndarray of shape (n, n_values)
        Latents.
    random_state : int or None, default=None
        Seed.

    Returns
    -------
    train, test : ndarray of shape (n, 2)
        Places on the map.

    Raises
    ------
    ImportError
        If openTSNE is not installed.

    References
    ----------
    .. [1] Poličar, Stražar & Zupan, "openTSNE: A Modular Python Library for t-SNE Dimensionality Reduction and
       Embedding", Journal of Statistical Software 109(3), 2024, https://doi.org/10.18637/jss.v109.i03
    """
    openTSNE = require_opentsne()
    pca = PCA(min(N_COMPONENTS, *train.shape), random_state=random_state).fit(train)
    tsne = openTSNE.TSNE(
        2, perplexity=_perplexity(len(train)), initialization="pca", random_state=random_state, n_jobs=1
    )
    fitted = tsne.fit(pca.transform(train).astype(np.float64))
    return np.asarray(fitted), np.asarray(fitted.transform(pca.transform(test).astype(np.float64)))


def require_opentsne() -> Any:
    """Return the module openTSNE, or say how to install it."""
    try:
        import openTSNE
    except ImportError as error:
        raise ImportError(
            "Placing new points into a t-SNE map needs openTSNE, which is not installed. "
            "Install it with: pip install 'flowexpr[tsne]'"
        ) from error
    return openTSNE


def _perplexity(n: int) -> float:
    """Return the usual number of neighbours, or fewer where there are few points."""
    return min(30.0, (n - 1) / 3)


def _umap(components: np.ndarray, random_state: int | np.random.RandomState | None) -> np.ndarray:
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError(
            'method="umap" needs umap-learn, which is not installed. Install it with: pip install umap-learn'
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its single thread where a seed is given, and of its dependencies
        mapper = UMAP(n_neighbors=min(15, len(components) - 1), random_state=random_state)
        return np.asarray(mapper.fit_transform(components))
