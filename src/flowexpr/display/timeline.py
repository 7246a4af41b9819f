"""How the probabilities of the expressions go over the time of a recording."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowexpr.display.axes import COLOURS, clean, panels, plain

__all__ = ["Timeline", "TimelineDisplay"]


class Timeline:
    """Probabilities over time, thinned as they come so that a recording of any length takes the same memory.

    Parameters
    ----------
    n_classes : int
        Number of probabilities.
    n_points : int, default=4000
        Points kept at most.
    """

    def __init__(self, n_classes: int, n_points: int = 4000):
        self._kept: list[tuple[float, NDArray[np.float64]]] = []
        self._missing = np.full(n_classes, math.nan)
        self._n_points, self._stride, self._seen = n_points, 1, 0

    def add(self, time: float, probabilities: NDArray[np.float64] | None) -> None:
        """Add a frame; without probabilities the line has a gap."""
        if self._seen % self._stride == 0:
            self._kept.append((time, self._missing if probabilities is None else probabilities))
        self._seen += 1
        if len(self._kept) > self._n_points:
            self._kept, self._stride = self._kept[::2], 2 * self._stride

    @property
    def time(self) -> NDArray[np.float64]:
        """Seconds, (n_points,)."""
        return np.array([time for time, _ in self._kept])

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Probabilities, (n_points, n_classes); NaN where there was no face."""
        return np.array([row for _, row in self._kept]).reshape(-1, len(self._missing))


class TimelineDisplay:
    """Probabilities of the expressions over the time of a recording.

    Parameters
    ----------
    time : array-like of shape (n,)
        Seconds.
    probabilities : array-like of shape (n, n_classes)
        NaN where there was no face. A frame between two without is a line.
    labels : sequence of str
        Names of the classes.
    title : str, default=""
        Name of the recording.

    Attributes
    ----------
    ax_ : Axes
        Where it was drawn.
    figure_ : Figure
        Its figure.
    """

    def __init__(self, time: ArrayLike, probabilities: ArrayLike, labels: ArrayLike, *, title: str = ""):
        self.time = np.asarray(time, dtype=float)
        self.probabilities = np.asarray(probabilities, dtype=float)
        self.labels = [str(label) for label in np.asarray(labels)]
        if self.probabilities.shape != (len(self.time), len(self.labels)):
            raise ValueError(
                f"probabilities were expected to have shape ({len(self.time)}, {len(self.labels)}), a row for every "
                f"second and a column for every label, but have {self.probabilities.shape}."
            )
        self.title = title

    def plot(self, ax: Any = None) -> TimelineDisplay:
        """Draw it.

        Parameters
        ----------
        ax : Axes, default=None
            Where; None makes a new figure.

        Returns
        -------
        display : TimelineDisplay
            Itself.
        """
        self.ax_ = panels("TimelineDisplay", ax, (1, 1), (9.0, 3.0)).ravel()[0]
        self.figure_ = self.ax_.figure.figure  # of a subfigure, the whole
        gaps = np.isnan(self.probabilities).any(1)
        alone = ~gaps & np.append(gaps[1:], True) & np.append(True, gaps[:-1])  # of which no area is seen
        lower = np.zeros(len(self.time))
        for i, (label, share) in enumerate(zip(self.labels, self.probabilities.T, strict=True)):
            upper, colour = lower + share, COLOURS[i % len(COLOURS)]
            look = {"facecolor": colour, "hatch": "//" if i >= len(COLOURS) else None, "edgecolor": "white"}
            self.ax_.fill_between(self.time, lower, upper, where=~gaps, linewidth=0, label=plain(label), **look)
            self.ax_.vlines(self.time[alone], lower[alone], upper[alone], color=colour, linewidth=2)
            lower = upper
        self.ax_.set_ylim(0, 1)
        if len(self.time) > 1:
            self.ax_.set_xlim(self.time[0], self.time[-1])
        self.ax_.set_xlabel("time, s")
        self.ax_.set_ylabel("probability")
        self.ax_.set_title(plain(self.title), loc="left")
        handles, names = self.ax_.get_legend_handles_labels()
        self.ax_.legend(handles[::-1], names[::-1], loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
        clean(self.ax_)
        return self
