"""Sheets of faces: the images of a data set, or samples of a model, a row for every expression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length

from flowexpr.display.axes import check_flow, panels, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FacesDisplay", "as_rgb", "draw_grid"]

GAP = 0.06  # between faces, as a part of their side


class FacesDisplay:
    """A sheet of faces, a row for every label.

    Parameters
    ----------
    rows : dict of label to ndarray of shape (n, H, W), (n, H, W, 1) or (n, H, W, 3)
        The faces of every row, uint8 or float; rows may differ in length.
    column_names : sequence or None, default=None
        Written above the columns.

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
    >>> from flowexpr.display import FacesDisplay
    >>> faces = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    >>> display = FacesDisplay({"anger": faces, "fear": faces[:2]}).plot(ax=Figure().add_subplot())
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['anger', 'fear']
    """

    def __init__(self, rows: dict[Any, np.ndarray], *, column_names: Sequence[Any] | None = None):
        self.rows = rows
        self.column_names = column_names

    @classmethod
    def from_images(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        *,
        subject: ArrayLike | None = None,
        n_columns: int = 10,
        random_state: int | None = 0,
        ax: Axes | None = None,
    ) -> FacesDisplay:
        """Show a part of a data set.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W) or (n_samples, H, W, C)
            Images, uint8 or float.
        y : array-like of shape (n_samples,)
            Labels; a row for each.
        subject : array-like of shape (n_samples,) or None, default=None
            Who is seen. A column is then one person throughout, and no person is shown twice.
        n_columns : int, default=10
            The largest number of columns.
        random_state : int or None, default=0
            Seed of the choice.
        ax : Axes or None, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : FacesDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If lengths differ, or there is no image.
        ImportError
            If matplotlib is not installed.
        """
        check_consistent_length(X, y, subject)
        X, y = np.asarray(X), np.asarray(y)
        if not len(X):
            raise ValueError("X holds no image, so there is nothing to draw. Pass at least one.")
        rng = np.random.default_rng(random_state)
        if subject is None:
            rows = {name: X[rng.permutation(np.flatnonzero(y == name))[:n_columns]] for name in np.unique(y)}
            return cls(rows).plot(ax)
        subject = np.asarray(subject)
        people = np.sort(rng.permutation(np.unique(subject))[:n_columns])
        rows = {name: _one_each(X, y == name, subject, people, rng) for name in np.unique(y)}
        return cls(rows, column_names=people.tolist()).plot(ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        n_columns: int = 10,
        temperature: float = 1.0,
        random_state: int | None = None,
        ax: Axes | None = None,
    ) -> FacesDisplay:
        """Draw new faces of every class from a fitted classifier.

        Parameters
        ----------
        estimator : FlowExpressionClassifier
            A classifier fitted on images.
        n_columns : int, default=10
            Samples a class.
        temperature : float, default=1.0
            Below 1, samples are more typical and less varied.
        random_state : int or None, default=None
            Seed of the samples; the same for every class.
        ax : Axes or None, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : FacesDisplay
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
        check_flow(estimator, "sample", of_images=True)
        rows = {}
        for name in estimator.classes_:
            X, _ = estimator.sample(n_columns, y=name, temperature=temperature, random_state=random_state)
            rows[name] = np.asarray(X).reshape(-1, *estimator.image_shape_)
        return cls(rows).plot(ax)

    def plot(self, ax: Axes | None = None) -> FacesDisplay:
        """Draw the sheet.

        Parameters
        ----------
        ax : Axes or None, default=None
            Where to draw; None makes a new figure.

        Returns
        -------
        display : FacesDisplay
            The display itself.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If the images have neither 1 nor 3 channels.
        """
        n_columns = max(len(row) for row in self.rows.values())
        size = (0.95 * n_columns + 1.2, 0.95 * len(self.rows) + 0.4)
        self.ax_ = panels("FacesDisplay.plot", ax, (1, 1), size)[0]
        self.figure_ = self.ax_.figure.figure  # of a subfigure, the whole
        draw_grid(self.ax_, list(self.rows.values()), list(self.rows), self.column_names)
        return self


def draw_grid(
    ax: Axes, rows: Sequence[np.ndarray], row_names: Sequence[Any], column_names: Sequence[Any] | None
) -> None:
    """Draw rows of images as one picture with their names at its sides.

    Parameters
    ----------
    ax : Axes
        Where to draw.
    rows : sequence of ndarray of shape (n, H, W) or (n, H, W, C)
        The images of every row; all of one size.
    row_names, column_names : sequence or None
        Written to the left of the rows and above the columns.
    """
    faces = [as_rgb(row) for row in rows]
    height, width = faces[0].shape[1:3]
    gap = max(1, round(GAP * max(height, width)))
    n_columns = max(len(row) for row in faces)
    step_y, step_x = height + gap, width + gap
    sheet = np.ones((len(faces) * step_y - gap, n_columns * step_x - gap, 3))
    for i, row in enumerate(faces):
        for j, face in enumerate(row):
            sheet[i * step_y : i * step_y + height, j * step_x : j * step_x + width] = face
    ax.imshow(sheet, interpolation="nearest")
    ax.set_yticks([i * step_y + (height - 1) / 2 for i in range(len(faces))], [plain(name) for name in row_names])
    names = [] if column_names is None else [plain(name) for name in column_names]
    ax.set_xticks([j * step_x + (width - 1) / 2 for j in range(len(names))], names)
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    ax.spines[:].set_visible(False)


def as_rgb(images: ArrayLike) -> np.ndarray:
    """Bring images to what a screen shows.

    Parameters
    ----------
    images : array-like of shape (n, H, W), (n, H, W, 1) or (n, H, W, 3)
        uint8, or float in 0..1 or 0..255; any other range is stretched from its least to its largest value.

    Returns
    -------
    images : ndarray of shape (n, H, W, 3), float64
        Values in 0..1.

    Raises
    ------
    ValueError
        If there are neither 1 nor 3 channels.
    """
    values = np.asarray(images)
    if values.ndim == 3:
        values = values[..., np.newaxis]
    if values.ndim != 4 or values.shape[-1] not in (1, 3):
        raise ValueError(
            "Images to show should have the shape (n, H, W), (n, H, W, 1) or (n, H, W, 3), but have "
            f"{np.shape(images)}. Choose the channels to show, e.g. X[..., :1]."
        )
    low, high = 0.0, 255.0 if values.dtype == np.uint8 else 1.0
    if values.dtype != np.uint8 and values.size and (values.min() < 0 or values.max() > 1):
        least, largest = float(values.min()), float(values.max())
        low, high = (0.0, 255.0) if least >= 0 and 1 < largest <= 255 else (least, largest)
    return np.broadcast_to((values - low) / (high - low), (*values.shape[:3], 3))


def _one_each(
    X: np.ndarray, of_class: np.ndarray, subject: np.ndarray, people: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """One image of every person, blank where a person has none of that class."""
    white = np.full(X.shape[1:], 255 if X.dtype == np.uint8 else X.max(), dtype=X.dtype)
    chosen = []
    for person in people:
        candidates = np.flatnonzero(of_class & (subject == person))
        chosen.append(X[rng.choice(candidates)] if len(candidates) else white)
    return np.stack(chosen)
