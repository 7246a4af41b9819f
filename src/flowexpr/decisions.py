"""From decision logits to labels, probabilities and abstentions, for every classifier here."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax
from sklearn.base import ClassifierMixin

from flowexpr.inputs import as_array
from flowexpr.labels import as_labels, check_lengths, mark_unlabelled, unboxed
from flowexpr.parameters import is_real

__all__ = ["LogitClassifierMixin"]


class LogitClassifierMixin(ClassifierMixin):
    """scikit-learn's ways to predict and its score, given `_logits`: (n, n_classes), nats, up to a constant a row."""

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

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy on labelled samples; rows whose label equals `unlabeled` are left out.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, or flattened rows
            Samples.
        y : array-like of shape (n,)
            True labels.
        sample_weight : array-like of shape (n,), default=None
            Weights of the samples.

        Returns
        -------
        accuracy : float
            Share of right predictions.
        """
        X = as_array(X)
        check_lengths(np.shape(X), y)
        labels, unlabeled = as_labels(y), getattr(self, "unlabeled", None)
        missing = mark_unlabelled(labels, unlabeled)
        if missing.any():
            if missing.all():
                raise ValueError(f"every label equals unlabeled={unlabeled!r}. Pass the true labels of some samples.")
            X = X.loc[~missing] if hasattr(X, "loc") else np.asarray(X)[~missing]
            labels = labels[~missing]
            sample_weight = None if sample_weight is None else np.asarray(sample_weight)[~missing]
        return super().score(X, unboxed(labels), sample_weight)

    def predict_with_reject(
        self, X: ArrayLike, *, min_confidence: float | None = None, reject_rate: float | None = None
    ) -> np.ma.MaskedArray:
        """Return the most probable labels, masked where the classifier had better abstain.

        The confidence of a prediction is the largest probability of its row. At least one of the two ways to choose
        what is rejected has to be given; with both, a prediction that fails either is rejected.

        Parameters
        ----------
        X : array-like of the shape given to `fit`, or flattened rows
            Samples.
        min_confidence : float, default=None
            Reject predictions below this confidence, 0 to 1: a rule for one sample at a time. Its meaning depends on
            how good the probabilities are; see `calibrate`.
        reject_rate : float, default=None
            Reject this share of X, 0 to 1: the ``round(reject_rate * n)`` predictions of lowest confidence. It
            compares the samples of X with each other, so that what happens to one depends on the others.

        Returns
        -------
        y : masked array of shape (n,)
            Labels. ``y.mask`` is True where a prediction was rejected (``y.data`` still holds it);
            ``y.compressed()`` are the accepted ones.

        Raises
        ------
        ValueError
            If neither is given, or one is no number within 0 to 1.
        """
        given = {"min_confidence": min_confidence, "reject_rate": reject_rate}
        if min_confidence is None and reject_rate is None:
            raise ValueError(
                "min_confidence or reject_rate was expected, but both are None. Pass min_confidence=0.8, say, to "
                "reject what is less sure than that, or reject_rate=0.2 to reject the least sure fifth of X."
            )
        for name, value in given.items():
            if value is not None and not (is_real(value) and 0 <= value <= 1):
                raise ValueError(f"{name} was expected to be a number within 0..1, but is {value!r}.")
        probabilities = self.predict_proba(X)
        confidence = probabilities.max(1)
        rejected = confidence < (min_confidence or 0)
        n_rejected = round((reject_rate or 0) * len(confidence))
        rejected[np.argsort(confidence, kind="stable")[:n_rejected]] = True
        return np.ma.MaskedArray(self.classes_[probabilities.argmax(1)], mask=rejected)
