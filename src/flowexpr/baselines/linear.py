"""A linear classifier on the principal components of the pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

__all__ = ["PixelPCA", "pca_lda"]


class PixelPCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Principal components of images given in any shape.

    scikit-learn's PCA takes rows only, and refuses more components than there are samples or values.
    This one flattens what stands behind the first axis and keeps as many components as the data span,
    so that the same baseline runs on ten images and on ten thousand.

    Parameters
    ----------
    n_components : int, default=80
        The largest number of components; fewer are kept where X has fewer samples, values or directions in
        which it varies.
    random_state : int, RandomState instance or None, default=None
        Seed of PCA's randomised solver.

    Attributes
    ----------
    pca_ : PCA
        The fitted decomposition of the flattened images.
    n_features_in_ : int
        Number of values of one image, H * W * C.

    Examples
    --------
    >>> import numpy as np
    >>> from flowexpr.baselines import PixelPCA
    >>> images = np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), dtype=np.uint8)
    >>> PixelPCA().fit_transform(images).shape
    (10, 9)
    """

    def __init__(self, n_components: int = 80, *, random_state: int | np.random.RandomState | None = None):
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> PixelPCA:
        """Find the principal components.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Images of any shape and numeric dtype; uint8 is taken as it is.
        y : None
            Ignored.

        Returns
        -------
        self : PixelPCA
            The fitted transformer.

        Raises
        ------
        ValueError
            If X is empty or has no axis behind the first.
        """
        rows = _as_rows(X)
        self.n_features_in_ = rows.shape[1]
        with np.errstate(invalid="ignore"):  # images all alike have no variance to divide by
            self.pca_ = PCA(min(self.n_components, *rows.shape), random_state=self.random_state).fit(rows)
        spread = self.pca_.singular_values_
        # n centred samples span n - 1 directions. A component without spread in training still has some on
        # new images, and a classifier that divides by the former decides on noise.
        rank = int(np.sum(spread > spread[0] * max(rows.shape) * np.finfo(rows.dtype).eps))
        self._n_features_out = max(rank, 1)
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Project images onto the components.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Images with as many values each as those in `fit`.

        Returns
        -------
        components : ndarray of shape (n_samples, n_components), float32
            The projections.

        Raises
        ------
        ValueError
            If the images have another number of values than those in `fit`.
        """
        check_is_fitted(self)
        rows = _as_rows(X)
        if rows.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {rows.shape[1]} values per image, but PixelPCA was fitted on {self.n_features_in_}. "
                "Pass images of the size and number of channels used in fit."
            )
        return self.pca_.transform(rows)[:, : self._n_features_out]


def pca_lda(n_components: int = 80, random_state: int | np.random.RandomState | None = None) -> Pipeline:
    """Build the linear baseline: principal components of the pixels, then linear discriminants.

    The discriminants' covariance is shrunk by Ledoit and Wolf's rule, without which eighty components of a
    few hundred faces overfit.

    Parameters
    ----------
    n_components : int, default=80
        The largest number of principal components; fewer are kept where the data are smaller.
    random_state : int, RandomState instance or None, default=None
        Seed of PCA's randomised solver.

    Returns
    -------
    pipeline : Pipeline
        An unfitted classifier that takes images (n, H, W) or (n, H, W, C), uint8 or float, or rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import cross_val_score
    >>> from flowexpr.baselines import pca_lda
    >>> y = np.repeat([0, 1], 20)
    >>> images = np.random.default_rng(0).integers(0, 200, (40, 8, 8, 3), dtype=np.uint8)
    >>> images[y == 1, :4] += 50
    >>> cross_val_score(pca_lda(random_state=0), images, y, cv=2)
    array([1., 1.])
    """
    return Pipeline(
        [
            ("pca", PixelPCA(n_components, random_state=random_state)),
            ("lda", LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")),
        ]
    )


def _as_rows(X: ArrayLike) -> np.ndarray:
    """Images of any shape as float32 rows (n, H * W * C)."""
    images = np.asarray(X)
    if images.ndim < 2 or images.shape[0] == 0:
        raise ValueError(
            f"X should hold at least one image along its first axis, (n_samples, ...), but has the shape "
            f"{images.shape}. Pass one image as X[np.newaxis]."
        )
    return images.reshape(len(images), -1).astype(np.float32)
