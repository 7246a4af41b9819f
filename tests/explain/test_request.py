"""What may be asked: any class, neutral classes, flat images, and whom the reference leaves out."""

import numpy as np
import pytest

from flowexpr.explain import encode_reference, evidence

QUICK = {"pixel_map": False, "counterfactual": False}


@pytest.fixture(scope="module")
def flat(draw_images, tiny):
    """Return a model of grey images that came as rows, and the rows."""
    X, y = draw_images()
    rows = X.reshape(len(X), -1)
    return tiny(image_shape=(16, 16), max_epochs=1).fit(rows, y), rows, y


def shown_ids(explained):
    return [{near.id for found in one.neighbours.values() for near in found} for one in explained]


@pytest.mark.parametrize(
    ("exclude", "left_out"),
    [
        (2, [{2}, {2}]),
        ([0, 1], [{0}, {1}]),
        (np.array([0, 1]), [{0}, {1}]),
        ([0], [{0}, {0}]),
        ([0, 1, 2], [{0, 1, 2}, {0, 1, 2}]),
        ({0, 1}, [{0, 1}, {0, 1}]),
        ([[0, 1], 2], [{0, 1}, {2}]),
        ([{0, 1}, np.array([2, 3])], [{0, 1}, {2, 3}]),
    ],
)
def test_ids_are_left_out_for_each_or_for_all(fitted_images, colour_images, exclude, left_out):
    X, y = colour_images
    reference = (X, y, np.arange(24) // 6)
    explained = fitted_images.explain(X[:2], reference=reference, exclude=exclude, n_neighbours=24, **QUICK)
    assert shown_ids(explained) == [{0, 1, 2, 3} - ids for ids in left_out]


def test_ids_may_come_one_by_one(fitted_images, colour_images):
    X, y = colour_images
    reference = (X, y, np.arange(24) // 6)
    explained = fitted_images.explain(
        X[:2], reference=reference, exclude=(one for one in (0, 1)), n_neighbours=24, **QUICK
    )
    assert shown_ids(explained) == [{1, 2, 3}, {0, 2, 3}]


def test_collections_of_ids_for_other_samples_are_told(fitted_images, colour_images):
    X, y = colour_images
    with pytest.raises(ValueError, match="the ids of each of 2 samples, but holds 1 collections"):
        fitted_images.explain(X[:2], reference=(X, y, np.arange(24)), exclude=[[0, 1]], **QUICK)


def test_the_reference_is_encoded_by_the_model_that_explains(fitted_images, colour_images, monkeypatch):
    X, y = colour_images
    once = fitted_images.explain(X[:1], reference=encode_reference(fitted_images, X, y), **QUICK)[0]
    made = []
    start = evidence.EvidenceModel.__init__
    monkeypatch.setattr(evidence.EvidenceModel, "__init__", lambda self, predictor: made.append(start(self, predictor)))
    (one,) = fitted_images.explain(X[:1], reference=(X, y), **QUICK)
    assert len(made) == 1
    for label, near in one.neighbours.items():
        assert [each.index for each in near] == [each.index for each in once.neighbours[label]]


def test_any_class_can_be_explained(fitted_images, colour_images):
    X = colour_images[0][:3]
    logits = fitted_images.predict_log_proba(X)
    for one, row in zip(fitted_images.explain(X, label="fear", **QUICK), logits, strict=True):
        others = np.delete(row, 1)
        assert one.label == "fear"
        assert one.against == np.array(["anger", "joy"])[others.argmax()]
        assert one.evidence == pytest.approx(row[1] - others.max(), rel=1e-4, abs=1e-6)
        assert one.predicted == fitted_images.classes_[row.argmax()]
        assert one.text.startswith("fear rather than" if one.evidence >= 0 else f"{one.against} rather than fear")
        told = 100 * np.exp(row[1] if one.evidence >= 0 else others.max())
        assert f"({told:.0f} %, not calibrated)" in one.text


def test_a_class_that_is_not_predicted_is_told_to_be_none(fitted_images, colour_images):
    (one,) = fitted_images.explain(colour_images[0][:1], **QUICK)
    last = ({*fitted_images.classes_} - {one.label, one.against}).pop()
    (other,) = fitted_images.explain(colour_images[0][:1], one.against, label=last, **QUICK)
    assert f"the model takes this face for {one.label}" in other.text


def test_the_start_that_was_given_is_told(fitted_images, colour_images):
    (one,) = fitted_images.explain(colour_images[0][:1], neutral=colour_images[0][1:2], counterfactual=False)
    assert one.start == "the neutral face given"
    assert "than the neutral face given" in one.text


def test_flat_images_are_explained_as_images(flat):
    clf, rows, y = flat
    (one,) = clf.explain(rows[:1], reference=encode_reference(clf, rows, y))
    for image in (one.image, one.baseline, *one.counterfactual.strip, one.neighbours[one.label][0].image):
        assert image.shape == (16, 16, 1)
    assert one.pixel_map.shape == (16, 16)
    assert list(one.regions)[-1] == "elsewhere"
    assert "this face is" in one.text
    np.testing.assert_array_equal(one.image.ravel(), rows[0])


@pytest.mark.parametrize("name", ["pixel_map", "counterfactual"])
def test_what_is_to_be_made_is_yes_or_no(name, fitted_images, colour_images):
    with pytest.raises(ValueError, match=f"{name}='x' was expected to be True or False"):
        fitted_images.explain(colour_images[0][:1], **{name: "x"})
