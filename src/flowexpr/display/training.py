"""The course of training: the likelihood loss, the class loss and the accuracies, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from flowexpr.display.axes import COLOURS, clean, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TrainingDisplay"]

PANELS = {
    "bits_per_dim": "likelihood loss\n(bits/dim)",
    "class_loss": "class loss\n(nats)",
    "accuracy": "accuracy",
    "learning_rate": "learning rate",
}


class TrainingDisplay:
    """Both losses and the accuracy over the epochs, one panel each above a common axis.

    The paper asks that its two losses "must converge synchronously" [1]_: read whether they flatten at the
    same epoch. A class loss that is flat long before the likelihood, or a validation curve that turns up
    while the training curve falls, says that the model learns its training faces by heart.

    Parameters
    ----------
    history : list of dict
        A row per epoch, as in the attribute `history_` of a fitted `FlowExpressionClassifier`; keys that begin
        with `val_` are drawn dashed where they are present.
    learning_rate : bool, default=False
        Add a panel with the learning rate.

    Attributes
    ----------
    ax_ : ndarray of Axes
        The panels: likelihood loss, class loss, accuracy and, if asked for, learning rate.
    figure_ : Figure
        The figure they stand in.

    References
    ----------
    .. [1] Aathreya & Canavan, "Expression Recognition using a Flow-based Latent-space Representation".

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from flowexpr.display import TrainingDisplay
    >>> history = [
    ...     {"epoch": 1, "bits_per_dim": 4.1, "class_loss": 1.8, "accuracy": 0.2},
    ...     {"epoch": 2, "bits_per_dim": 3.2, "class_loss": 1.1, "accuracy": 0.6},
    ... ]
    >>> display = TrainingDisplay(history).plot(ax=Figure().add_subplot())
    >>> len(display.ax_)
    3
    """

    def __init__(self, history: Sequence[Mapping[str, Any]], *, learning_rate: bool = False):
        self.history = history
        self.learning_rate = learning_rate

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, learning_rate: bool = False, ax: Axes | Sequence[Axes] | None = None
    ) -> TrainingDisplay:
        """Draw the training of a fitted classifier.

        Parameters
        ----------
        estimator : FlowExpressionClassifier
            A fitted classifier.
        learning_rate : bool, default=False
            Add a panel with the learning rate.
        ax : Axes, sequence of Axes or None, default=None
            One axes is divided into the panels; None makes a new figure.

        Returns
        -------
        display : TrainingDisplay
            The display, drawn.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it keeps no history.
        ImportError
            If matplotlib is not installed.
        """
        check_is_fitted(estimator)
        if not hasattr(estimator, "history_"):
            raise TypeError(
                f"a classifier that keeps its training in history_ was expected, a FlowExpressionClassifier or "
                f"CNNExpressionClassifier, but {type(estimator).__name__} has none."
            )
        return cls(estimator.history_, learning_rate=learning_rate).plot(ax)

    def plot(self, ax: Axes | Sequence[Axes] | None = None) -> TrainingDisplay:
        """Draw the panels.

        Parameters
        ----------
        ax : Axes, sequence of Axes or None, default=None
            One axes is divided into the panels; None makes a new figure.

        Returns
        -------
        display : TrainingDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the history is empty.
        """
        if not self.history:
            raise ValueError("history is empty, so there is nothing to draw. Fit for at least one epoch.")
        recorded = [key for key in PANELS if any(key in row for row in self.history)]
        keys = [key for key in recorded if key != "learning_rate" or self.learning_rate]
        self.ax_ = panels("TrainingDisplay.plot", ax, (len(keys), 1), (6.4, 1.9 * len(keys)))
        self.figure_ = self.ax_[0].figure.figure  # of a subfigure, the whole
        epochs = self._column("epoch")
        for panel, key in zip(self.ax_, keys, strict=True):
            self._draw(panel, epochs, key)
            panel.set_ylabel(PANELS[key])
            panel.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
            panel.xaxis.get_major_locator().set_params(integer=True)
            panel.tick_params(labelbottom=panel is self.ax_[-1])
        self.ax_[-1].set_xlabel("epoch")
        if len(self.ax_[0].lines) > 1:
            self.ax_[0].legend(frameon=False)
        return self

    def _draw(self, panel: Axes, epochs: np.ndarray, key: str) -> None:
        clean(panel)
        # A dot an epoch while they can be told apart; a run of a few epochs would be bare lines otherwise.
        marker = "." if len(epochs) <= 40 else ""
        panel.plot(epochs, self._column(key), color=COLOURS[0], marker=marker, label="training")
        if any(f"val_{key}" in row for row in self.history):
            validation = self._column(f"val_{key}")
            panel.plot(epochs, validation, "--", color=COLOURS[1], marker=marker, label="validation")
        if key == "accuracy":
            panel.set_ylim(0, 1.02)
        if panel is self.ax_[0]:
            skipped = sum(int(row.get("skipped_steps", 0)) for row in self.history)
            panel.set_title(f"{skipped} non-finite steps skipped" if skipped else "", fontsize="small")

    def _column(self, key: str) -> np.ndarray:
        return np.array([row.get(key, np.nan) for row in self.history], dtype=float)
