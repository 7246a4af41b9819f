"""The charts' geometry."""

import numpy as np
import pytest

from flowexpr.report.plots import Plot, Series, ticks


@pytest.mark.parametrize(
    ("span", "texts"),
    [
        ((0, 1), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ((0.5, 12.5), ["2", "4", "6", "8", "10", "12"]),
        ((3.62, 3.71), ["3.62", "3.64", "3.66", "3.68", "3.70"]),
    ],
)
def test_ticks_are_round(span, texts):
    assert [text for _, text in ticks(span)] == texts


def test_corners_of_the_data_are_corners_of_the_frame():
    plot = Plot("square", [series := Series("", [0, 1], [0, 1])])
    left, right, top, bottom = plot.frame
    assert [place[:2] for place in plot.places(series)] == [(left, bottom), (right, top)]


def test_what_is_not_finite_is_not_drawn():
    plot = Plot("gap", [series := Series("", [0, 0.5, 1], [0, np.nan, 1])])
    assert plot.path(series).count("L") == 1
