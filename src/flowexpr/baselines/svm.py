"""Support-vector machines on principal components and on histograms of oriented gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import BaseCrossValidator, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted

from flowexpr.baselines.linear import PixelPCA

__all__ = ["HOGFeatures", "hog_svm", "pca_svm"]

CELLS_ACROSS = 6
"""HOG cells along the shorter side of an image: 8 pixels each at 48 x 48."""

INNER_FOLDS = 5
"""Folds of the training images on which Platt's sigmoids are fitted, at most."""


class HOGFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Histograms of oriented gradients [1]_ of grey images, by scikit-image (extra ``[faces]``).

    Parameters
    ----------
    orientations : int, default=9
        Bins of the gradient's direction.

    Attributes
    ----------
    image_shape_ : tuple
        Shape of one image in `fit`.

    References
    ----------
    .. [1] Dalal & Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005,
       https://doi.org/10.1109/CVPR.2005.177

    Examples
    --------
    >>> import numpy as np
    >>> from flowexpr.baselines import HOGFeatures
    >>> HOGFeatures().fit_transform(np.zeros((2, 48, 48), dtype=np.uint8)).shape
    (2, 900)
    """

    def __init__(self, orientations: int = 9) -> None:
        self.orientations = orientations

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Remember the shape of the images.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W) or (n_samples, H, W, C)
            Images, of at least 12 pixels a side; colours are averaged.
        y : None
            Ignored.

        Returns
        -------
        self : HOGFeatures
            The fitted transformer.

        Raises
        ------
        ValueError
            If X holds no images of that size.
        """
        shape = np.shape(X)
        if len(shape) not in (3, 4) or min(shape[1:3]) < 2 * CELLS_ACROSS:
            raise ValueError(
                f"X was expected to be images (n, H, W) or (n, H, W, C) of at least {2 * CELLS_ACROSS} pixels a side, "
                f"but has the shape {shape}."
            )
        self.image_shape_ = shape[1:]
        self._n_features_out = self._describe(np.asarray(X)[:1]).shape[1]
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Return the histograms.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W) or (n_samples, H, W, C)
            Images of the shape in `fit`.

        Returns
        -------
        histograms : ndarray of shape (n_samples, n_values), float64
            Normalised over blocks of 2 x 2 cells.

        Raises
        ------
        ValueError
            If the images have another shape than those in `fit`.
        ImportError
            If scikit-image is not installed.
        """
        check_is_fitted(self)
        if np.shape(X)[1:] != self.image_shape_:
            raise ValueError(
                f"X has images of shape {np.shape(X)[1:]}, but HOGFeatures was fitted on {self.image_shape_}. "
                "Pass images of that shape."
            )
        return self._describe(np.asarray(X))

    def _describe(self, images: np.ndarray) -> np.ndarray:
        try:
            from skimage.feature import hog
        except ImportError as error:
            raise ImportError(
                "HOGFeatures needs scikit-image, which is not installed. Install it with: pip install 'flowexpr[faces]'"
            ) from error
        grey = images.mean(axis=-1) if images.ndim == 4 else images.astype(np.float64)
        cell = min(self.image_shape_[:2]) // CELLS_ACROSS
        return np.stack(
            [hog(image, self.orientations, pixels_per_cell=(cell, cell), cells_per_block=(2, 2)) for image in grey]
        )


def pca_svm(n_components: int = 80, random_state: int | np.random.RandomState | None = None) -> Pipeline:
    """Build a support-vector machine with a Gaussian kernel on principal components of the pixels.

    Parameters
    ----------
    n_components : int, default=80
        The largest number of principal components; fewer are kept where the data are smaller.
    random_state : int, RandomState instance or None, default=None
        Seed of PCA's randomised solver.

    Returns
    -------
    pipeline : Pipeline
        An unfitted classifier of images (n, H, W[, C]), with `predict_proba` by Platt's sigmoids.
    """
    pca = PixelPCA(n_components, random_state=random_state)
    return Pipeline([("pca", pca), ("svm", _with_probabilities())])


def hog_svm() -> Pipeline:
    """Build a support-vector machine with a Gaussian kernel on histograms of oriented gradients.

    Returns
    -------
    pipeline : Pipeline
        An unfitted classifier of images (n, H, W[, C]), with `predict_proba` by Platt's sigmoids.
    """
    return Pipeline([("hog", HOGFeatures()), ("svm", _with_probabilities())])


def _with_probabilities() -> CalibratedClassifierCV:
    return CalibratedClassifierCV(SVC(C=10.0), cv=_FoldsOfRareClasses(), ensemble=False)


class _FoldsOfRareClasses(BaseCrossValidator):
    """`INNER_FOLDS` stratified folds, or as many as the smallest class has images."""

    def split(self, X: Any, y: Any, groups: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return StratifiedKFold(self.get_n_splits(X, y)).split(X, y)

    def get_n_splits(self, X: Any, y: Any, groups: Any = None) -> int:
        labels, counts = np.unique(y, return_counts=True)
        if counts.min() < 2:
            raise ValueError(
                f"at least two training images of every class were expected, but of {labels[counts.argmin()]} there is "
                "one: the probabilities of a support-vector machine are fitted on folds of them. Pass more images of "
                "it, or leave the class out."
            )
        return min(INNER_FOLDS, int(counts.min()))
