"""The geometry of the page's charts: data become coordinates here, and the template draws them as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["MARKER_PATHS", "Plot", "Series", "percent", "ticks"]

MARKER_PATHS = (
    "M-4.4,0a4.4,4.4 0 1,0 8.8,0a4.4,4.4 0 1,0 -8.8,0z",
    "M-3.9,-3.9h7.8v7.8h-7.8z",
    "M0,-5.2L5,3.9H-5z",
    "M0,-5.5L5.5,0L0,5.5L-5.5,0z",
    "M0,5.2L5,-3.9H-5z",
    "M-1.7,-5h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z",
    "M-4.7,-2.6L-2.6,-4.7L0,-2.1L2.6,-4.7L4.7,-2.6L2.1,0L4.7,2.6L2.6,4.7L0,2.1L-2.6,4.7L-4.7,2.6L-2.1,0z",
)
"""Seven shapes about the origin, in the order of `flowexpr.display.axes.MARKERS`."""

WIDTH = 360
"""Width of every chart, in pixels: it fits a telephone, so that its text never shrinks."""

LEFT, RIGHT, TOP, BOTTOM = 46, 20, 12, 42


@dataclass(frozen=True)
class Series:
    """Points of one chart that belong together.

    Attributes
    ----------
    name : str
        As the legend names it; empty for none.
    x, y : array-like of shape (n,)
        In data units.
    style : int
        Which colour and marker of the palette.
    line, dots : bool
        Whether the points are joined, and whether each has a marker.
    dashed : bool
        Whether the line is.
    notes : sequence of str
        What a pointer at each marker shows; empty for nothing.
    """

    name: str
    x: ArrayLike
    y: ArrayLike
    style: int = 0
    line: bool = True
    dots: bool = True
    dashed: bool = False
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Plot:
    """A chart of two axes.

    Attributes
    ----------
    title : str
        What it shows, for its heading and for those who cannot see it.
    series : sequence of Series
        What is drawn, in this order.
    x_label, y_label : str
        Names of the axes, with units.
    x_range, y_range : tuple of float
        What the axes span.
    x_percent, y_percent : bool
        Whether the ticks are shares, written in per cent.
    diagonal : bool
        Whether a thin line from corner to corner is drawn.
    y_ticks : bool
        Whether the vertical axis has ticks.
    height : int
        In pixels.
    """

    title: str
    series: Sequence[Series]
    x_label: str = ""
    y_label: str = ""
    x_range: tuple[float, float] = (0.0, 1.0)
    y_range: tuple[float, float] = (0.0, 1.0)
    x_percent: bool = False
    y_percent: bool = False
    diagonal: bool = False
    y_ticks: bool = True
    height: int = 240
    width: int = field(default=WIDTH, init=False)

    @property
    def frame(self) -> tuple[float, float, float, float]:
        """Left, right, top and bottom of the field of the data, in pixels."""
        return (LEFT if self.y_ticks else RIGHT, WIDTH - RIGHT, TOP, self.height - BOTTOM)

    @property
    def x_axis(self) -> list[tuple[float, str]]:
        """Place in pixels and text of every tick of the horizontal axis."""
        return [(self._x(value), text) for value, text in ticks(self.x_range, self.x_percent)]

    @property
    def y_axis(self) -> list[tuple[float, str]]:
        """Place in pixels and text of every tick of the vertical axis."""
        if not self.y_ticks:
            return []
        return [(self._y(value), text) for value, text in ticks(self.y_range, self.y_percent)]

    @property
    def legend(self) -> list[Series]:
        """The series that have a name."""
        return [series for series in self.series if series.name]

    def places(self, series: Series) -> list[tuple[float, float, str]]:
        """Return place in pixels and note of every point of a series that is finite."""
        x, y = np.asarray(series.x, dtype=float), np.asarray(series.y, dtype=float)
        notes = series.notes or [""] * len(x)
        finite = np.isfinite(x) & np.isfinite(y)
        return [(self._x(x[i]), self._y(y[i]), notes[i]) for i in np.flatnonzero(finite).tolist()]

    def path(self, series: Series) -> str:
        """Return the line through the points of a series, as the `d` of an SVG path."""
        return "M" + "L".join(f"{x},{y}" for x, y, _ in self.places(series)) if self.places(series) else ""

    def _x(self, value: float) -> float:
        left, right, _, _ = self.frame
        low, high = self.x_range
        return round(left + (float(value) - low) / (high - low) * (right - left), 1)

    def _y(self, value: float) -> float:
        _, _, top, bottom = self.frame
        low, high = self.y_range
        return round(bottom - (float(value) - low) / (high - low) * (bottom - top), 1)


def ticks(span: tuple[float, float], in_percent: bool = False) -> list[tuple[float, str]]:
    """Choose round values of an axis.

    Parameters
    ----------
    span : tuple of float
        Where the axis begins and ends.
    in_percent : bool, default=False
        Write shares in per cent.

    Returns
    -------
    ticks : list of (float, str)
        Three to seven values within the span, a step of 1, 2 or 5 times a power of ten apart, and their texts.

    Examples
    --------
    >>> from flowexpr.report.plots import ticks
    >>> ticks((0, 1), in_percent=True)[1]
    (0.2, '20 %')
    """
    low, high = span
    rough = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    values = [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(value, percent(value) if in_percent else f"{value:.{digits}f}") for value in values]


def percent(share: float) -> str:
    """Write a share in whole per cent."""
    return f"{100 * share:.0f} %"
