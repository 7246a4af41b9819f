"""The figure of an explanation: which panels stand in it, and what they show."""

import numpy as np
import pytest

from flowexpr.display import ExplanationDisplay
from flowexpr.display.explanation import evidence_picture

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from matplotlib.figure import Figure  # noqa: E402


def draw(explanation):
    return ExplanationDisplay(explanation).plot(Figure(layout="constrained").add_subplot())


@pytest.fixture(scope="module")
def explained(fitted_images, colour_images):
    X, y = colour_images
    return fitted_images.explain(X[:1], reference=(X, y, np.arange(len(X))), exclude=0)[0]


def test_figure_holds_all_that_was_explained(explained):
    display = draw(explained)
    assert list(display.axes_) == ["face", "map", "regions", "classes", "counterfactual", "neighbours"]
    written = [text.get_text() for ax in display.figure_.axes for text in ax.texts]
    assert explained.text in [text.replace("\n", " ").replace("\u00a0", " ") for text in written]
    bars = [patch.get_width() for patch in display.axes_["regions"].patches]
    np.testing.assert_allclose(bars, list(explained.regions.values()))
    under = [label.get_text() for label in display.axes_["counterfactual"].get_xticklabels()]
    assert len(under) == len(explained.counterfactual.strip)
    display.figure_.canvas.draw()


def test_what_was_not_made_is_left_out(fitted_images, colour_images):
    explained = fitted_images.explain(colour_images[0][:1], pixel_map=False, counterfactual=False)[0]
    assert list(draw(explained).axes_) == ["face", "classes"]


def test_vectors_are_shown_by_feature(fitted_vectors, two_features):
    display = ExplanationDisplay.from_estimator(
        fitted_vectors, two_features[0][0], ax=Figure(layout="constrained").add_subplot()
    )
    assert list(display.axes_) == ["features", "classes", "counterfactual"]
    assert {label.get_text() for label in display.axes_["features"].get_yticklabels()} == {"x0", "x1"}


def test_red_speaks_for_and_blue_against():
    picture = evidence_picture(np.full((1, 3), 128, dtype=np.uint8), np.array([[2.0, 0.0, -2.0]]))
    assert picture[0, 0, 0] > picture[0, 0, 2]
    assert picture[0, 2, 0] < picture[0, 2, 2]
    assert np.ptp(picture[0, 1]) == 0
