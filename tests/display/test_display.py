"""Displays: what is drawn where, without pyplot's state, and a clear error where matplotlib is missing."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from flowexpr import FlowExpressionClassifier
from flowexpr.display import (
    ExplanationDisplay,
    FacesDisplay,
    LatentSpaceDisplay,
    MorphDisplay,
    ReliabilityDisplay,
    TimelineDisplay,
    TrainingDisplay,
)
from flowexpr.display.faces import as_rgb

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

CLASSES = np.array(["anger", "fear", "joy"])


class Painter(BaseEstimator):
    """A stand-in for a fitted classifier whose images are of one grey value each."""

    def fit(self, X, y=None):
        self.image_shape_ = X.shape[1:]
        self.classes_ = CLASSES
        self.history_ = history(4)
        return self

    def predict_proba(self, X):
        return np.tile([0.2, 0.7, 0.1], (len(X), 1))

    def transform(self, X):
        return np.asarray(X, dtype=np.float32).reshape(len(X), -1)

    def sample(self, n, y=None, temperature=1.0, random_state=None):
        grey = 50 * list(CLASSES).index(y)
        return np.full((n, *self.image_shape_), grey, dtype=np.uint8), np.full(n, y)

    def morph(self, X, to, from_=None, strength=1.0):
        return np.full_like(X, int(100 * strength) + list(CLASSES).index(to))


def history(n_epochs, validation=False, **more):
    keys = ["bits_per_dim", "class_loss", "accuracy", "learning_rate"]
    rows = [{"epoch": i + 1, **dict.fromkeys(keys, 1 / (i + 1)), **more} for i in range(n_epochs)]
    if validation:
        rows = [row | {f"val_{key}": 0.5 for key in keys[:3]} for row in rows]
    return rows


def painter():
    return Painter().fit(np.zeros((1, 8, 8, 3)))


@pytest.fixture
def ax():
    return Figure(layout="constrained").add_subplot()


@pytest.fixture
def faces():
    """36 images of 6 people with 3 expressions, 2 each."""
    X = np.random.default_rng(0).integers(0, 256, (36, 8, 8, 3), dtype=np.uint8)
    return X, np.tile(CLASSES, 12), np.repeat(np.arange(6), 6)


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


def drawings(ax, faces):
    X, y, subject = faces
    return {
        "training": lambda: TrainingDisplay.from_estimator(painter(), ax=ax),
        "latent": lambda: LatentSpaceDisplay.from_estimator(Painter(), X, y, subject=subject, method="pca", ax=ax),
        "morph": lambda: MorphDisplay.from_estimator(painter(), X[:2], ax=ax),
        "samples": lambda: FacesDisplay.from_estimator(painter(), n_columns=3, ax=ax),
        "faces": lambda: FacesDisplay.from_images(X, y, subject=subject, ax=ax),
        "reliability": lambda: ReliabilityDisplay.from_estimator(painter(), X, y, ax=ax),
    }


@pytest.mark.parametrize("kind", ["training", "latent", "morph", "samples", "faces", "reliability"])
def test_given_axes_are_used_and_pyplot_is_left_alone(kind, ax, faces, tmp_path):
    display = drawings(ax, faces)[kind]()
    assert display.figure_ is ax.figure
    assert plt.get_fignums() == []
    display.figure_.savefig(tmp_path / "picture.png")


@pytest.mark.parametrize("kind", ["training", "latent", "morph", "samples", "faces", "reliability"])
def test_without_axes_one_pyplot_figure_is_made(kind, faces):
    display = drawings(None, faces)[kind]()
    assert plt.get_fignums() == [display.figure_.number]


class TestTrainingDisplay:
    def test_draws_both_losses_and_the_accuracy(self, ax):
        display = TrainingDisplay(history(4)).plot(ax)
        labels = [panel.get_ylabel() for panel in display.ax_]
        assert labels == ["likelihood loss\n(bits/dim)", "class loss\n(nats)", "accuracy"]
        np.testing.assert_allclose(display.ax_[1].lines[0].get_ydata(), [1, 1 / 2, 1 / 3, 1 / 4])

    def test_validation_is_drawn_where_it_is_there(self, ax):
        display = TrainingDisplay(history(4, validation=True)).plot(ax)
        assert [len(panel.lines) for panel in display.ax_] == [2, 2, 2]
        legend = [text.get_text() for text in display.ax_[0].get_legend().get_texts()]
        assert legend == ["training", "validation"]

    def test_learning_rate_on_request(self, ax):
        display = TrainingDisplay(history(4), learning_rate=True).plot(ax)
        assert display.ax_[3].get_ylabel() == "learning rate"

    def test_skipped_steps_are_told(self, ax):
        display = TrainingDisplay(history(4, skipped_steps=2)).plot(ax)
        assert display.ax_[0].get_title() == "8 non-finite steps skipped"

    def test_as_many_axes_as_panels_are_used_as_they_are(self):
        given = Figure().subplots(3, 1)
        assert list(TrainingDisplay(history(2)).plot(given).ax_) == list(given)

    def test_another_number_of_axes_is_refused(self):
        with pytest.raises(ValueError, match=r"TrainingDisplay\.plot draws 3 panels, but got 2 axes"):
            TrainingDisplay(history(2)).plot(Figure().subplots(2, 1))

    def test_axes_outside_a_grid_are_refused(self):
        with pytest.raises(ValueError, match="this one stands in no grid"):
            TrainingDisplay(history(2)).plot(Figure().add_axes((0, 0, 1, 1)))

    def test_empty_history_is_refused(self, ax):
        with pytest.raises(ValueError, match="history is empty"):
            TrainingDisplay([]).plot(ax)

    def test_unfitted_estimator_is_refused(self):
        with pytest.raises(NotFittedError):
            TrainingDisplay.from_estimator(Painter())


class TestLatentSpaceDisplay:
    def test_second_panel_names_every_subject_once(self, ax, faces):
        X, y, subject = faces
        display = LatentSpaceDisplay.from_estimator(painter(), X, y, subject=subject, random_state=0, ax=ax)
        assert [panel.get_title().split("\n")[0] for panel in display.ax_] == ["by expression", "by subject"]
        assert sorted(text.get_text() for text in display.ax_[1].texts) == list("012345")

    def test_names_stand_on_a_point_of_their_subject(self, ax):
        places = np.array([[0.0, 0], [1, 0], [9, 9], [5, 5], [6, 5], [7, 5]])
        display = LatentSpaceDisplay(places, ["a"] * 6, subject=["p"] * 3 + ["q"] * 3).plot(ax)
        assert {text.get_text(): text.xy for text in display.ax_[1].texts} == {
            "p": pytest.approx((1, 0)),
            "q": pytest.approx((6, 5)),
        }

    def test_fifty_six_subjects_are_all_drawn_differently(self, ax):
        places = np.random.default_rng(0).normal(size=(56, 2))
        panel = LatentSpaceDisplay(places, np.zeros(56), subject=np.arange(56)).plot(ax).ax_[1]
        looks = {(tuple(dots.get_facecolor()[0]), dots.get_paths()[0].vertices.tobytes()) for dots in panel.collections}
        assert len(looks) == 56

    def test_one_panel_without_subjects(self, ax, faces):
        X, y, _ = faces
        display = LatentSpaceDisplay.from_estimator(painter(), X, y, method="pca", ax=ax)
        assert [text.get_text() for text in display.ax_[0].get_legend().get_texts()] == list(CLASSES)
        assert display.ax_[0].get_xlabel() == "principal components of 192 latent values"

    def test_same_seed_same_map(self, faces):
        X, y, _ = faces
        maps = [
            LatentSpaceDisplay.from_estimator(Painter(), X, y, random_state=1, ax=Figure().add_subplot()).embedding
            for _ in range(2)
        ]
        np.testing.assert_array_equal(*maps)

    def test_unknown_method_is_refused(self, faces):
        X, y, _ = faces
        with pytest.raises(ValueError, match='method was expected to be "tsne", "umap" or "pca", but is \'lle\''):
            LatentSpaceDisplay.from_estimator(painter(), X, y, method="lle")

    def test_places_may_be_lists(self, ax):
        assert len(LatentSpaceDisplay([[0, 0], [1, 2]], ["a", "b"]).plot(ax).ax_[0].collections) == 2

    @pytest.mark.parametrize(
        ("places", "message"),
        [([[0, 0]] * 3, "inconsistent numbers of samples"), ([[0], [1]], r"two coordinates a sample, but has shape")],
    )
    def test_places_of_another_shape_are_refused(self, places, message, ax):
        with pytest.raises(ValueError, match=message):
            LatentSpaceDisplay(places, ["a", "b"]).plot(ax)

    def test_too_few_images_are_refused(self, faces):
        X, y, _ = faces
        with pytest.raises(ValueError, match="A map needs at least 5 images, but X has 4"):
            LatentSpaceDisplay.from_estimator(painter(), X[:4], y[:4])


class TestMorphDisplay:
    def test_columns_are_the_start_and_every_class(self, ax, faces):
        display = MorphDisplay.from_estimator(painter(), faces[0][:2], names=["Ann", "Bob"], ax=ax)
        assert [label.get_text() for label in display.ax_.get_xticklabels()] == ["start", *CLASSES]
        assert [label.get_text() for label in display.ax_.get_yticklabels()] == ["Ann", "Bob"]

    def test_the_class_left_behind_heads_the_first_column(self, ax, faces):
        display = MorphDisplay.from_estimator(painter(), faces[0][:2], from_="fear", ax=ax)
        assert [label.get_text() for label in display.ax_.get_xticklabels()] == ["fear", "anger", "joy"]

    def test_one_expression_may_be_asked_for(self, ax, faces):
        display = MorphDisplay.from_estimator(painter(), faces[0][:2], to="joy", ax=ax)
        assert [label.get_text() for label in display.ax_.get_xticklabels()] == ["start", "joy"]

    def test_faces_stand_where_their_names_say(self, ax, faces):
        X = faces[0][:2]
        display = MorphDisplay.from_estimator(painter(), X, to=["joy"], strength=0.5, ax=ax)
        picture = display.ax_.images[0].get_array()
        np.testing.assert_allclose(picture[9:17, :8], X[1] / 255, atol=0.003)
        x = round(display.ax_.get_xticks()[1])
        np.testing.assert_allclose(picture[4, x], 52 / 255, atol=0.003)

    def test_flattened_rows_are_shaped_back(self, ax, faces):
        rows = faces[0][:2].reshape(2, -1)
        display = MorphDisplay.from_estimator(painter(), rows, ax=ax)
        assert display.start.shape == (2, 8, 8, 3)


class TestReliabilityDisplay:
    PROBA = np.repeat([[0.2, 0.7, 0.1], [0.9, 0.1, 0.0]], 20, axis=0)
    Y = np.repeat(["fear", "joy", "anger"], [15, 5, 20])

    def test_points_are_the_accuracy_at_the_confidence_of_each_bin(self, ax):
        display = ReliabilityDisplay.from_predictions(self.Y, self.PROBA, n_bins=2, ax=ax)
        np.testing.assert_allclose(display.ax_[0].containers[0].lines[0].get_xydata(), [[0.7, 0.75], [0.9, 1.0]])
        assert display.calibration_error_ == pytest.approx((0.05 + 0.1) / 2)

    def test_intervals_are_clopper_and_pearsons(self, ax):
        display = ReliabilityDisplay.from_predictions(self.Y, self.PROBA, n_bins=2, ax=ax)
        drawn = [segment[:, 1] for segment in display.ax_[0].containers[0].lines[2][0].get_segments()]
        np.testing.assert_allclose(drawn, [[0.5090, 0.9134], [0.8316, 1.0]], atol=1e-4)

    def test_the_histogram_counts_every_sample(self, ax):
        display = ReliabilityDisplay.from_predictions(self.Y, self.PROBA, ax=ax)
        assert sum(bar.get_height() for bar in display.ax_[1].patches) == 40

    def test_columns_in_any_order(self, ax):
        display = ReliabilityDisplay.from_predictions(
            self.Y, self.PROBA[:, [2, 0, 1]], classes=["joy", "anger", "fear"], n_bins=2, ax=ax
        )
        np.testing.assert_allclose(display.bins_.accuracy, [0.75, 1.0])

    def test_a_second_classifier_is_added_in_another_colour(self, ax):
        first = ReliabilityDisplay.from_predictions(self.Y, self.PROBA, name="flow", ax=ax)
        second = ReliabilityDisplay.from_predictions(self.Y, self.PROBA, name="CNN", ax=first.ax_)
        labels = [text.get_text() for text in second.ax_[0].get_legend().get_texts()]
        assert [label.split(",")[0] for label in labels] == ["confidence = accuracy", "flow", "CNN"]
        colours = {bars.lines[0].get_color() for bars in second.ax_[0].containers}
        assert len(colours) == 2

    def test_labels_and_columns_have_to_match(self, ax):
        with pytest.raises(
            ValueError, match=r"a column for each of \['anger', 'fear', 'joy'\], but has shape \(40, 2\)"
        ):
            ReliabilityDisplay.from_predictions(self.Y, self.PROBA[:, :2], ax=ax)
        with pytest.raises(ValueError, match="y_true holds 'joy', but classes are"):
            ReliabilityDisplay.from_predictions(self.Y, self.PROBA[:, :2], classes=["anger", "fear"], ax=ax)


class TestFacesDisplay:
    def test_a_column_is_one_person(self, ax, faces):
        _, y, subject = faces
        X = np.broadcast_to(40 * subject[:, None, None].astype(np.uint8), (36, 8, 8))
        display = FacesDisplay.from_images(X, y, subject=subject, n_columns=4, ax=ax)
        people = np.array([int(label.get_text()) for label in display.ax_.get_xticklabels()])
        for row in display.rows.values():
            np.testing.assert_array_equal(row[:, 0, 0], 40 * people)

    def test_a_person_without_that_expression_leaves_a_blank(self, ax):
        X = np.zeros((3, 8, 8), dtype=np.uint8)
        display = FacesDisplay.from_images(X, ["fear", "joy", "joy"], subject=[0, 0, 1], ax=ax)
        np.testing.assert_array_equal(display.rows["fear"][:, 0, 0], [0, 255])

    def test_without_subjects_a_row_holds_its_class_only(self, ax, faces):
        X = np.zeros((36, 8, 8), dtype=np.uint8)
        X[faces[1] == "joy"] = 200
        display = FacesDisplay.from_images(X, faces[1], n_columns=5, ax=ax)
        assert {name: np.unique(row).tolist() for name, row in display.rows.items()} == {
            "anger": [0],
            "fear": [0],
            "joy": [200],
        }

    def test_samples_have_a_row_a_class(self, ax):
        display = FacesDisplay.from_estimator(Painter().fit(np.zeros((1, 8, 8, 1))), n_columns=3, ax=ax)
        assert {name: (row.shape, row.max()) for name, row in display.rows.items()} == {
            name: ((3, 8, 8, 1), 50 * i) for i, name in enumerate(CLASSES)
        }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 51, 255], dtype=np.uint8), [0, 0.2, 1]),
        (np.array([0.0, 0.2, 1.0]), [0, 0.2, 1]),
        (np.array([0.0, 51.0, 255.0], dtype=np.float32), [0, 0.2, 1]),
        (np.array([-1.0, 0.0, 3.0]), [0, 0.25, 1]),
        (np.array([290.0, 300.0, 310.0]), [0, 0.5, 1]),
    ],
)
def test_pixels_of_any_range_are_shown_between_0_and_1(values, expected):
    np.testing.assert_allclose(as_rgb(values.reshape(1, 1, 3))[0, 0, :, 2], expected, atol=1e-6)


def test_two_channels_cannot_be_shown():
    with pytest.raises(ValueError, match=r"have \(1, 8, 8, 2\). Choose the channels to show"):
        as_rgb(np.zeros((1, 8, 8, 2)))


def test_importing_the_displays_imports_no_matplotlib():
    code = "import sys, flowexpr.display; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"TrainingDisplay.plot needs matplotlib.*'flowexpr\[plot\]'"):
        TrainingDisplay(history(2)).plot()


def test_maps_of_two_estimators_stand_in_one_figure_with_their_scores():
    X = np.random.default_rng(0).integers(0, 255, (24, 8, 8, 3), dtype=np.uint8)
    y, subject = np.tile(CLASSES, 8), np.repeat([1, 2, 3, 4], 6)
    estimators = {"flow": painter(), "CNN": painter()}
    displays = LatentSpaceDisplay.from_estimators(estimators, X, y, subject=subject, method="pca")
    flow, cnn = displays.values()
    assert flow.figure_ is cnn.figure_
    assert [len(display.ax_) for display in (flow, cnn)] == [2, 2]
    assert [row["groups"] for row in flow.scores] == ["subject", "expression", "expression within subject"]
    assert f"neighbour alike {flow.scores[0]['purity']:.0%}" in flow.ax_[1].get_title()
    assert "within subjects:" in flow.ax_[0].get_title()
    plt.close(flow.figure_)


def test_umap_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    X, y = np.zeros((6, 8, 8, 3)), np.tile(CLASSES, 2)
    with pytest.raises(ImportError, match="pip install umap-learn"):
        LatentSpaceDisplay.from_estimator(painter(), X + np.arange(6)[:, None, None, None], y, method="umap")


def test_morph_display_along_strength_has_a_column_a_strength(ax):
    faces = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    display = MorphDisplay.along_strength(painter(), faces, "joy", strengths=(0, 1, 1.5), ax=ax)
    assert [label.get_text() for label in display.ax_.get_xticklabels()] == ["start", "joy 0", "joy 1", "joy 1.5"]
    assert display.morphs["joy 1.5"][0, 0, 0, 0] == 152


def test_what_is_no_flow_of_images_is_told(fitted_vectors, two_features):
    X, y = two_features
    other = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    for display, method, given in (
        (ExplanationDisplay, "explain", (X[0],)),
        (MorphDisplay, "morph", (X[:2],)),
        (FacesDisplay, "sample", ()),
    ):
        with pytest.raises(TypeError, match=rf"Pipeline has no method '{method}'\. Of a pipeline pass the last step"):
            display.from_estimator(other, *given)
        with pytest.raises(NotFittedError):
            display.from_estimator(FlowExpressionClassifier(), *given)
    with pytest.raises(ValueError, match="was fitted on vectors, which are not drawn as images"):
        MorphDisplay.from_estimator(fitted_vectors, X[:2])


def test_training_without_a_density_has_no_panel_of_it(ax):
    rows = [{"epoch": i, "class_loss": 1.0, "accuracy": 0.5, "skipped_steps": i} for i in (1, 2)]
    display = TrainingDisplay(rows).plot(ax)
    assert [panel.get_ylabel() for panel in display.ax_] == ["class loss\n(nats)", "accuracy"]
    assert display.ax_[0].get_title() == "3 non-finite steps skipped"


def test_what_keeps_no_history_is_told():
    fitted = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(TypeError, match="LogisticRegression has none"):
        TrainingDisplay.from_estimator(fitted)


def test_no_images_are_not_drawn():
    with pytest.raises(ValueError, match="X holds no image"):
        FacesDisplay.from_images(np.zeros((0, 8, 8)), [])


def test_frames_between_gaps_and_more_classes_than_colours_are_seen(ax):
    probabilities = np.full((5, 9), 1 / 9)
    probabilities[[1, 3]] = np.nan
    display = TimelineDisplay(np.arange(5) / 10, probabilities, list("abcdefghi")).plot(ax)
    lines, areas = display.ax_.collections[1::2], display.ax_.collections[::2]
    assert [len(line.get_segments()) for line in lines] == [3] * 9
    looks = {(tuple(area.get_facecolor()[0]), area.get_hatch()) for area in areas}
    assert len(looks) == 9
    with pytest.raises(ValueError, match=r"expected to have shape \(5, 8\), .* but have \(5, 9\)"):
        TimelineDisplay(np.arange(5), probabilities, list("abcdefgh"))


def test_names_that_are_no_text_are_drawn(tmp_path):
    display = TimelineDisplay(np.arange(3), np.full((3, 2), 0.5), ["a", "b"], title="bad\udcff.mp4").plot()
    display.figure_.savefig(tmp_path / "t.png")
