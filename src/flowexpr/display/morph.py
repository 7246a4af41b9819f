"""Faces carried from one expression to the others by averages of latents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from flowexpr.display.axes import check_flow, panels
from flowexpr.display.faces import draw_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MorphDisplay"]


class MorphDisplay:
    """Every row a person: the face to start from, then the same face with each expression.

    The paper's Figure 4.

    Parameters
    ----------
    start : ndarray of shape (n, H, W), (n, H, W, 1) or (n, H, W, 3)
        The faces to start from.
    morphs : dict of label to ndarray of the same shape
        For every expression, the morphs of all faces.
    names : sequence or None, default=None
        Written beside the rows, such as the subjects.
    start_name : str, default="start"
        Written above the first column.

    Attributes
    ----------
    ax_ : Axes
        The sheet.
    figure_ : Figure
        The figure it stands in.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from flowexpr.display import MorphDisplay
    >>> faces = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    >>> display = MorphDisplay(faces, {"anger": faces, "fear": faces}).plot(ax=Figure().add_subplot())
    >>> [label.get_text() for label in display.ax_.get_xticklabels()]
    ['start', 'anger', 'fear']
    """

    def __init__(
        self,
        start: np.ndarray,
        morphs: dict[Any, np.ndarray],
        *,
        names: Sequence[Any] | None = None,
        start_name: str = "start",
    ):
        self.start = start
        self.morphs = morphs
        self.names = names
        self.start_name = start_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        *,
        to: Any = None,
        from_: Any = None,
        strength: float = 1.0,
        names: Sequence[Any] | None = None,
        ax: Axes | None = None,
    ) -> MorphDisplay:
        """Morph faces with a fitted classifier and draw them.

        Parameters
        ----------
        estimator : FlowExpressionClassifier
            A classifier fitted on images.
        X : array-like of shape (n_samples, ...)
            Faces to start from, of the shape the classifier was fitted on.
        to : label, sequence of labels or None, default=None
            The expressions to show; None shows every class but `from_`.
        from_ : label or None, default=None
            The class whose average is taken away; None takes that of all other classes, as the paper does.
        strength : float, default=1.0
            How much of the difference of averages is added.
        names : sequence or None, default=None
            Written beside the rows.
        ax : Axes or None, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : MorphDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator is no flow.
        NotFittedError
            If it is not fitted.
        ValueError
            If it was fitted on vectors.
        ImportError
            If matplotlib is not installed.
        """
        check_flow(estimator, "morph", of_images=True)
        if to is None:
            to = [label for label in estimator.classes_ if from_ is None or label != from_]
        columns = {label: (label, strength) for label in ([to] if np.ndim(to) == 0 else to)}
        return cls._morphed(estimator, X, columns, from_, names).plot(ax)

    @classmethod
    def along_strength(
        cls,
        estimator: Any,
        X: ArrayLike,
        to: Any,
        *,
        from_: Any = None,
        strengths: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5),
        names: Sequence[Any] | None = None,
        ax: Axes | None = None,
    ) -> MorphDisplay:
        """Morph faces to one expression, further and further, and draw them: a column per strength.

        Parameters
        ----------
        estimator : FlowExpressionClassifier
            A classifier fitted on images.
        X : array-like of shape (n_samples, ...)
            Faces to start from, of the shape the classifier was fitted on.
        to : label
            The expression.
        from_ : label or None, default=None
            As in `from_estimator`.
        strengths : sequence of float, default=(0, 0.25, ..., 1.5)
            How much of the difference of averages is added; above 1 it is exaggerated.
        names : sequence or None, default=None
            Written beside the rows.
        ax : Axes or None, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : MorphDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator is no flow.
        NotFittedError
            If it is not fitted.
        ValueError
            If it was fitted on vectors.
        ImportError
            If matplotlib is not installed.
        """
        check_flow(estimator, "morph", of_images=True)
        columns = {f"{to} {strength:g}": (to, strength) for strength in strengths}
        return cls._morphed(estimator, X, columns, from_, names).plot(ax)

    @classmethod
    def _morphed(
        cls,
        estimator: Any,
        X: ArrayLike,
        columns: Mapping[Any, tuple[Any, float]],
        from_: Any,
        names: Sequence[Any] | None,
    ) -> MorphDisplay:
        """Morph faces once a column, to the label and with the strength that it stands for."""
        X = np.asarray(X)
        shape = (len(X), *estimator.image_shape_)
        morphs = {
            name: np.asarray(estimator.morph(X, to, from_=from_, strength=strength)).reshape(shape)
            for name, (to, strength) in columns.items()
        }
        start_name = "start" if from_ is None else str(from_)
        return cls(X.reshape(shape), morphs, names=names, start_name=start_name)

    def plot(self, ax: Axes | None = None) -> MorphDisplay:
        """Draw the sheet.

        Parameters
        ----------
        ax : Axes or None, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : MorphDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the images have neither 1 nor 3 channels.
        """
        columns = [np.asarray(self.start), *(np.asarray(faces) for faces in self.morphs.values())]
        size = (1.1 * len(columns) + 1.0, 1.1 * len(self.start) + 0.4)
        self.ax_ = panels("MorphDisplay.plot", ax, (1, 1), size)[0]
        self.figure_ = self.ax_.figure.figure  # of a subfigure, the whole
        names = [""] * len(self.start) if self.names is None else self.names
        draw_grid(self.ax_, list(np.stack(columns, axis=1)), names, [self.start_name, *self.morphs])
        return self
