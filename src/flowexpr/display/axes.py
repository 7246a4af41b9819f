"""What the displays share: the estimator checked, matplotlib imported late, panels of one axes, colours for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLOURS", "MARKERS", "check_flow", "clean", "panels", "plain", "require_matplotlib"]

# Okabe and Ito's palette, which colour-blind readers can tell apart, https://jfly.uni-koeln.de/color/
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B8A900")
# Seven markers beside eight colours: 56 groups before a pair repeats.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def plain(text: Any) -> str:
    """Return text that matplotlib writes as it is: no mathematics between dollars, names that are no UTF-8 escaped."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8").replace("$", r"\$")


def check_flow(estimator: Any, method: str, *, of_images: bool = False) -> None:
    """Raise where an estimator has no such method, is not fitted, or, if it has to be, not fitted on images.

    Parameters
    ----------
    estimator : object
        What should be a `FlowExpressionClassifier`.
    method : str
        The method of it that a display calls.
    of_images : bool, default=False
        Whether vectors cannot be drawn.

    Raises
    ------
    TypeError
        If it has no such method.
    NotFittedError
        If it is not fitted.
    ValueError
        If it was fitted on vectors.
    """
    name = type(estimator).__name__
    if not hasattr(estimator, method):
        raise TypeError(
            f"a fitted FlowExpressionClassifier was expected, but {name} has no method {method!r}. Of a pipeline pass "
            "the last step, and samples as the steps before it make them."
        )
    check_is_fitted(estimator)
    if of_images and estimator.image_shape_ is None:
        raise ValueError(f"{name} was fitted on vectors, which are not drawn as images. Call its `{method}` instead.")


def require_matplotlib(caller: str) -> None:
    """Fail early, with the remedy, where matplotlib is missing.

    Parameters
    ----------
    caller : str
        What needs it, as the message names it.

    Raises
    ------
    ImportError
        If matplotlib cannot be imported.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{caller} needs matplotlib, which is not installed. Install it with: pip install 'flowexpr[plot]'"
        ) from error


def panels(
    caller: str,
    ax: Axes | Sequence[Axes] | np.ndarray | None,
    shape: tuple[int, int],
    figsize: tuple[float, float],
    **grid: Any,
) -> np.ndarray:
    """Make the axes of a display.

    Parameters
    ----------
    caller : str
        What needs them, for the messages.
    ax : Axes, sequence of Axes or None
        None makes a new pyplot figure, one axes is divided into as many as are needed, and a sequence is
        taken as it is.
    shape : tuple of int
        Rows and columns of panels.
    figsize : tuple of float
        Size of a new figure, in inches.
    **grid : dict
        Passed on to `GridSpec`, e.g. `height_ratios`.

    Returns
    -------
    axes : ndarray of Axes, of shape (rows * columns,)
        The panels, row by row.

    Raises
    ------
    ValueError
        If `ax` is a sequence of another length, or an axes that stands in no grid.
    """
    require_matplotlib(caller)
    n_panels = shape[0] * shape[1]
    if ax is None:
        # pyplot keeps the figure, so that notebooks and plt.show() find it, as with scikit-learn's displays.
        from matplotlib import pyplot as plt

        figure = plt.figure(figsize=figsize, layout="constrained")
        return _fill(figure, figure.add_gridspec(*shape, **grid))
    given = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
    if len(given) == n_panels:
        return given
    if len(given) > 1:
        raise ValueError(f"{caller} draws {n_panels} panels, but got {len(given)} axes. Pass {n_panels}, one, or None.")
    spec = given[0].get_subplotspec()
    if spec is None:
        raise ValueError(
            f"{caller} divides its axes into {n_panels} panels, but this one stands in no grid. "
            "Pass one made by add_subplot or subplots."
        )
    given[0].set_axis_off()
    return _fill(given[0].figure, spec.subgridspec(*shape, **grid))


def _fill(figure: Any, grid: Any) -> np.ndarray:
    rows, columns = grid.get_geometry()
    made = [figure.add_subplot(grid[row, column]) for row in range(rows) for column in range(columns)]
    axes = np.empty(len(made), dtype=object)
    axes[:] = made
    return axes


def clean(ax: Axes) -> None:
    """Leave of the frame what carries a scale, and a faint grid behind the data."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, color="0.9", linewidth=0.8)
    ax.set_axisbelow(True)
