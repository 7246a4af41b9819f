"""The figure of an explanation: which panels stand in it, and what they show."""

from dataclasses import replace

import numpy as np
import pytest

from flowexpr.display import ExplanationDisplay
from flowexpr.display.explanation import _number, evidence_picture

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from matplotlib.figure import Figure  # noqa: E402


def draw(explanation):
    figure = Figure(figsize=(12.5, 6.4), layout="constrained")
    return ExplanationDisplay(explanation).plot(figure.add_subplot())


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


def test_figure_without_any_neighbour_is_written(fitted_images, colour_images, tmp_path):
    X, y = colour_images
    reference = (X, y, np.zeros(len(X), dtype=int))
    with pytest.warns(UserWarning, match="2 lists of neighbours are empty"):
        (explained,) = fitted_images.explain(X[:1], reference=reference, exclude=0, counterfactual=False)
    assert not any(explained.neighbours.values())
    display = draw(explained)
    assert list(display.axes_) == ["face", "map", "regions", "classes"]
    display.figure_.savefig(tmp_path / "why.png")
    assert (tmp_path / "why.png").stat().st_size > 0


def test_warnings_point_at_whoever_asked_for_the_figure(fitted_images, colour_images):
    X, y = colour_images
    nobody = {"reference": (X, y, np.zeros(len(X), dtype=int)), "exclude": 0}
    with pytest.warns(UserWarning, match="lists of neighbours are empty") as caught:
        ExplanationDisplay.from_estimator(fitted_images, X[0], **nobody, ax=Figure().add_subplot())
    assert [one.filename for one in caught] == [__file__]


def test_flat_images_are_shown_as_images(draw_images, tiny):
    X, y = draw_images()
    rows = X.reshape(len(X), -1)
    clf = tiny(image_shape=(16, 16), max_epochs=1).fit(rows, y)
    display = ExplanationDisplay.from_estimator(
        clf, rows[0], reference=(rows, y), ax=Figure(layout="constrained").add_subplot()
    )
    assert list(display.axes_) == ["face", "map", "regions", "classes", "counterfactual", "neighbours"]
    display.figure_.canvas.draw()


def test_bytes_are_as_bright_as_the_floats_that_the_model_was_fitted_on(draw_images, tiny):
    X, y = draw_images()
    clf = tiny(max_epochs=1).fit((X / 255).astype(np.float32), y)
    (explained,) = clf.explain(X[:1], counterfactual=False, neutral=X[:1])
    sheet = draw(explained).axes_["face"].images[0].get_array()
    np.testing.assert_allclose(sheet[:, -16:], sheet[:, :16], atol=2.0**-5)


def test_the_figure_says_where_the_map_starts_and_what_the_model_says(fitted_images, colour_images):
    X = colour_images[0][:1]
    said = fitted_images.predict(X)[0]
    other = next(label for label in fitted_images.classes_ if label != said)
    display = draw(fitted_images.explain(X, label=other, counterfactual=False, neutral=colour_images[0][1:2])[0])
    names = [name.get_text().replace("\n", " ") for name in display.axes_["face"].get_xticklabels()]
    assert names == [f"taken for {said}", "map starts from the neutral face given"]
    assert display.axes_["regions"].get_title().endswith("than\nthe neutral face given")


def test_a_map_without_regions_is_shown_without_them(explained):
    display = draw(replace(explained, regions=None))
    assert "map" in display.axes_
    assert "regions" not in display.axes_


def test_vectors_are_shown_by_feature(fitted_vectors, two_features):
    display = ExplanationDisplay.from_estimator(
        fitted_vectors, two_features[0][0], ax=Figure(layout="constrained").add_subplot()
    )
    assert list(display.axes_) == ["features", "classes", "counterfactual"]
    assert {label.get_text() for label in display.axes_["features"].get_yticklabels()} == {"x0", "x1"}


def test_the_bars_of_features_say_what_they_are_the_difference_to(fitted_vectors, two_features):
    (one,) = fitted_vectors.explain(two_features[0][:1], counterfactual=False)
    title = draw(one).axes_["features"].get_title()
    gain = one.evidence - one.baseline_evidence
    assert title.startswith(f"for {one.label}: {abs(gain):.1f} nats {'more' if gain >= 0 else 'less'} than")
    assert title.replace("\n", " ").endswith(one.start)


def test_dollars_in_names_are_no_mathematics(two_features, tiny, tmp_path):
    frame = pytest.importorskip("pandas").DataFrame(two_features[0], columns=["rent ($)", "food ($)"])
    clf = tiny(n_flows=2, max_epochs=2).fit(frame, np.array(["$hap", "sad$", "a_$"])[two_features[1]])
    display = draw(clf.explain(frame.iloc[:1])[0])
    display.figure_.savefig(tmp_path / "dollars.png")
    labels = display.axes_["features"].get_yticklabels()
    assert {label._preprocess_math(label.get_text()) for label in labels} == {("rent ($)", False), ("food ($)", False)}


def test_changes_of_features_are_in_standard_deviations(fitted_vectors, two_features):
    (one,) = fitted_vectors.explain(two_features[0][:1])
    panel = draw(one).axes_["counterfactual"]
    change = (one.counterfactual.image - one.image) / one.feature_scales
    assert [bar.get_width() for bar in panel.patches] == pytest.approx(sorted(change, key=lambda x: -abs(x)))
    nothing = replace(one, counterfactual=replace(one.counterfactual, image=one.image))
    assert not draw(nothing).axes_["counterfactual"].patches


def test_many_features_are_all_told(fitted_vectors, two_features):
    (one,) = fitted_vectors.explain(two_features[0][:1])
    names = [f"f{i}" for i in range(30)]
    nats = dict(zip(names, np.linspace(3.0, 0.1, 30), strict=True))
    image = np.full(30, 1e5)
    way = replace(one.counterfactual, image=image + 0.4 * np.arange(30))
    many = replace(
        one, image=image, regions=nats, counterfactual=way, feature_names=names, feature_scales=np.full(30, 0.4)
    )
    axes = draw(many).axes_
    labels = [label.get_text() for label in axes["features"].get_yticklabels()]
    assert labels == [*names[:11], "19 others"]
    assert sum(bar.get_width() for bar in axes["features"].patches) == pytest.approx(sum(nats.values()))
    assert axes["counterfactual"].get_xlabel().endswith("the 12 largest of 29")
    assert axes["counterfactual"].get_yticklabels()[0].get_text() == "f29: 100000.00 to 100011.60"


@pytest.mark.parametrize(
    ("value", "scale", "text"),
    [(5.1, 0.4, "5.10"), (1050.0, 300.0, "1050"), (0.0, 1e-9, "0"), (3e-9, 1e-9, "3e-09"), (4.2e12, 1e9, "4.2e+12")],
)
def test_numbers_have_the_digits_of_their_feature(value, scale, text):
    assert _number(value, scale) == text


def test_an_empty_map_has_neither_bars_nor_scale(explained, fitted_vectors, two_features):
    empty = replace(explained, pixel_map=np.zeros_like(explained.pixel_map))
    axes = draw(empty).axes_
    assert "regions" not in axes
    assert [text.get_text() for text in axes["map"].texts] == ["the map is empty"]
    (vector,) = fitted_vectors.explain(two_features[0][:1], counterfactual=False)
    assert list(draw(replace(vector, pixel_map=0 * vector.pixel_map)).axes_) == ["classes"]


def test_red_speaks_for_and_blue_against():
    picture = evidence_picture(np.full((1, 3), 128, dtype=np.uint8), np.array([[2.0, 0.0, -2.0]]))
    assert picture[0, 0, 0] > picture[0, 0, 2]
    assert picture[0, 2, 0] < picture[0, 2, 2]
    assert np.ptp(picture[0, 1]) == 0


def test_one_row_of_a_table_keeps_the_names_of_its_columns(tiny):
    pd = pytest.importorskip("pandas")
    random = np.random.default_rng(0)
    X = pd.DataFrame(random.normal(size=(24, 3)), columns=["age", "pitch", "energy"])
    clf = tiny(max_epochs=1).fit(X, np.arange(24) % 2)
    for row in (X.iloc[0], X.iloc[:1]):
        display = ExplanationDisplay.from_estimator(clf, row, ax=Figure(layout="constrained").add_subplot())
        assert {bar.get_text() for bar in display.axes_["features"].get_yticklabels()} == set(X.columns)
    (without_map,) = clf.explain(X.iloc[:1], pixel_map=False)
    changed = [name.get_text() for name in draw(without_map).axes_["counterfactual"].get_yticklabels()]
    assert {name.split(":")[0] for name in changed} == set(X.columns)
    with pytest.raises(ValueError, match=r"one sample, but is a DataFrame of 24. Pass frame.iloc\[:1\]"):
        ExplanationDisplay.from_estimator(clf, X)


def test_landmarks_and_confidence_are_passed_on(fitted_images, colour_images):
    x = colour_images[0][0]
    points = np.array([[5, 6], [11, 6], [8, 9], [6, 12], [10, 12]], dtype=float)
    ax = Figure(layout="constrained").add_subplot()
    one = ExplanationDisplay.from_estimator(fitted_images, x, landmarks=points, confidence=0.55, ax=ax).explanation
    (same,) = fitted_images.explain(x[np.newaxis], landmarks=points[np.newaxis], confidence=0.55)
    assert one.regions == pytest.approx(same.regions)
    np.testing.assert_array_equal(one.counterfactual.image, same.counterfactual.image)


def test_a_list_of_explanations_is_refused(explained):
    with pytest.raises(TypeError, match=r"one Explanation was expected, but came list\. Pass one of those"):
        ExplanationDisplay([explained]).plot()


def test_the_strip_tells_of_the_class_predicted_and_of_the_one_looked_for(fitted_images, colour_images):
    X = colour_images[0][:1]
    said = fitted_images.predict(X)[0]
    against, label = (other for other in fitted_images.classes_ if other != said)
    (one,) = fitted_images.explain(X, against, label=label, pixel_map=False)
    under = [name.get_text() for name in draw(one).axes_["counterfactual"].get_xticklabels()]
    assert all(str(said) in text and str(one.counterfactual.label) in text for text in under)


def test_the_scale_of_the_map_is_told(explained):
    (told,) = [text.get_text() for text in draw(explained).axes_["map"].texts]
    assert told == f"full colour: {np.quantile(np.abs(explained.pixel_map), 0.99):.2g} nats a pixel"
