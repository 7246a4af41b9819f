"""Whether a classifier's confidence is what its accuracy warrants: the reliability diagram."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta
from sklearn.utils.validation import check_consistent_length, column_or_1d

from flowexpr.calibration import expected_calibration_error, reliability_bins
from flowexpr.display.axes import COLOURS, clean, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ReliabilityDisplay"]


class ReliabilityDisplay:
    """Accuracy against confidence in bins of equal mass, and how often each confidence occurs.

    A point on the diagonal keeps its word: of the predictions made with 80 % confidence, 80 % are right. Below the
    diagonal the classifier is too sure. Bars are 95 % intervals of the accuracy (Clopper and Pearson [1]_) as if the
    samples were independent; frames of one person are not, and scatter more.

    Parameters
    ----------
    y_index : array-like of shape (n_samples,)
        Column of the true class of every sample.
    y_proba : array-like of shape (n_samples, n_classes)
        Probability of every class.
    n_bins : int, default=10
        Number of bins, each with as many samples as the others.
    name : str or None, default=None
        What the predictions are called in the legend.

    Attributes
    ----------
    bins_ : ReliabilityBins
        Mean confidence, accuracy and count of every bin.
    calibration_error_ : float
        The expected calibration error over these bins.
    ax_ : ndarray of Axes
        The diagram, and the histogram of confidence below it.
    figure_ : Figure
        The figure they stand in.

    References
    ----------
    .. [1] Clopper & Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
       1934, https://doi.org/10.1093/biomet/26.4.404

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from flowexpr.display import ReliabilityDisplay
    >>> proba = np.repeat([[0.75, 0.25]], 100, axis=0)
    >>> y = np.repeat(["anger", "anger", "anger", "joy"], 25)
    >>> display = ReliabilityDisplay.from_predictions(y, proba, n_bins=1, ax=Figure().add_subplot())
    >>> display.calibration_error_
    0.0
    """

    def __init__(self, y_index: ArrayLike, y_proba: ArrayLike, *, n_bins: int = 10, name: str | None = None):
        self.y_index = y_index
        self.y_proba = y_proba
        self.n_bins = n_bins
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        n_bins: int = 10,
        name: str | None = None,
        ax: Axes | Sequence[Axes] | None = None,
    ) -> ReliabilityDisplay:
        """Draw the reliability of a fitted classifier on samples that it was not fitted on.

        Parameters
        ----------
        estimator : FlowExpressionClassifier
            A fitted classifier, or any other with `predict_proba` and `classes_`.
        X : array-like of shape (n_samples, ...)
            Samples, of people that the classifier has not seen.
        y : array-like of shape (n_samples,)
            Their labels.
        n_bins : int, default=10
            Number of bins.
        name : str or None, default=None
            Name in the legend; None is the estimator's class.
        ax : Axes, sequence of Axes or None, default=None
            One axes is divided into the two panels; None makes a new figure.

        Returns
        -------
        display : ReliabilityDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If lengths differ, or y holds a label that the classifier does not know.
        ImportError
            If matplotlib is not installed.
        """
        return cls.from_predictions(
            y,
            estimator.predict_proba(X),
            classes=estimator.classes_,
            n_bins=n_bins,
            name=type(estimator).__name__ if name is None else name,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_proba: ArrayLike,
        *,
        classes: ArrayLike | None = None,
        n_bins: int = 10,
        name: str | None = None,
        ax: Axes | Sequence[Axes] | None = None,
    ) -> ReliabilityDisplay:
        """Draw the reliability of predictions, such as those of all folds of a cross-validation.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            True labels.
        y_proba : array-like of shape (n_samples, n_classes)
            Probability of every class.
        classes : array-like of shape (n_classes,) or None, default=None
            The label of every column; None takes the sorted labels of `y_true`.
        n_bins : int, default=10
            Number of bins.
        name : str or None, default=None
            Name in the legend.
        ax : Axes, sequence of Axes or None, default=None
            One axes is divided into the two panels; None makes a new figure.

        Returns
        -------
        display : ReliabilityDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If lengths differ, labels and columns do not match, rows are no probabilities, or `n_bins` is no positive
            integer.
        ImportError
            If matplotlib is not installed.
        """
        labels, proba = column_or_1d(y_true, warn=True), np.asarray(y_proba, dtype=np.float64)
        check_consistent_length(labels, proba)
        known = np.unique(labels) if classes is None else np.asarray(classes)
        if proba.ndim != 2 or proba.shape[1] != len(known):
            raise ValueError(
                f"y_proba was expected to have a column for each of {known.tolist()}, but has shape {proba.shape}. "
                "Pass classes, the label of every column."
            )
        unknown = np.setdiff1d(labels, known)
        if len(unknown):
            raise ValueError(f"y_true holds {unknown.tolist()[0]!r}, but classes are {known.tolist()}.")
        order = np.argsort(known)
        index = order[np.searchsorted(known, labels, sorter=order)]
        return cls(index, proba, n_bins=n_bins, name=name).plot(ax)

    def plot(self, ax: Axes | Sequence[Axes] | None = None) -> ReliabilityDisplay:
        """Draw the diagram and the histogram.

        Parameters
        ----------
        ax : Axes, sequence of Axes or None, default=None
            One axes is divided into the two panels; None makes a new figure. A display drawn onto the `ax_` of
            another is added to it.

        Returns
        -------
        display : ReliabilityDisplay
            The display itself.

        Raises
        ------
        ValueError
            If rows are no probabilities, `y_index` holds no column for each, or `n_bins` is no positive integer.
        ImportError
            If matplotlib is not installed.
        """
        proba = np.asarray(self.y_proba, dtype=np.float64)
        self.bins_ = reliability_bins(self.y_proba, self.y_index, self.n_bins)
        self.calibration_error_ = expected_calibration_error(self.y_proba, self.y_index, self.n_bins)
        self.ax_ = panels("ReliabilityDisplay.plot", ax, (2, 1), (5.2, 6.4), height_ratios=[3, 1])
        self.figure_ = self.ax_[0].figure.figure  # of a subfigure, the whole
        diagram, histogram = self.ax_
        n_drawn = len(diagram.containers)
        colour = COLOURS[n_drawn % len(COLOURS)]
        lowest = 1 / proba.shape[1]  # no confidence lies below: the largest of n_classes probabilities
        if not n_drawn:
            diagram.plot([lowest, 1], [lowest, 1], "--", color="0.5", label="confidence = accuracy")
        self._draw_bins(diagram, colour)
        edges = np.linspace(lowest, 1, 21).tolist()
        histogram.hist(proba.max(1), bins=edges, color=colour, alpha=0.5, edgecolor=colour)
        for panel in self.ax_:
            clean(panel)
            panel.set_xlim(lowest, 1.01)
        diagram.set_ylim(-0.02, 1.02)
        diagram.set_ylabel("accuracy")
        diagram.legend(loc="best", framealpha=0.85, edgecolor="none")
        diagram.tick_params(labelbottom=False)
        histogram.set(xlabel="confidence (largest probability)", ylabel="samples")
        return self

    def _draw_bins(self, diagram: Axes, colour: str) -> None:
        """Draw a point per bin, with its 95 % interval."""
        confidence, accuracy, count = self.bins_
        right = np.rint(accuracy * count)
        low = np.where(right == 0, 0.0, beta.ppf(0.025, right, count - right + 1))
        high = np.where(right == count, 1.0, beta.ppf(0.975, right + 1, count - right))
        error = f"calibration error {self.calibration_error_:.3f}"
        diagram.errorbar(
            confidence,
            accuracy,
            yerr=[accuracy - low, high - accuracy],
            fmt="o-",
            color=colour,
            capsize=2,
            linewidth=1,
            label=error if self.name is None else f"{self.name}, {error}",
        )
