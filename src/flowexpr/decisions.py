"""From decision logits to labels and probabilities, for every classifier here."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax
from sklearn.base import ClassifierMixin

__all__ = ["LogitClassifierMixin"]


class LogitClassifierMixin(ClassifierMixin):
    """scikit-learn's three ways to predict, given `_logits`: (n, n_classes), nats, up to a constant a row."""

    classes_: NDArray[Any]

    def _logits(self, X: ArrayLike) -> NDArray[np.float64]:
        raise NotImplementedError

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable label of every sample.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, or flattened rows
            Samples.

        Returns
        -------
        y : ndarray of shape (n,)
            Labels.
        """
        most_probable = self._logits(X).argmax(1)
        return self.classes_[most_probable]

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return p(y = i | x), the softmax of the decision logits.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, or flattened rows
            Samples.

        Returns
        -------
        probabilities : ndarray of shape (n, n_classes)
            Rows sum to 1; columns in the order of `classes_`.
        """
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return log p(y = i | x), nats.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, or flattened rows
            Samples.

        Returns
        -------
        log_probabilities : ndarray of shape (n, n_classes)
            Columns in the order of `classes_`.
        """
        return log_softmax(self._logits(X), axis=1)
