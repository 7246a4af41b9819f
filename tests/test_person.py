"""Person baselines: the neutral face of the same person is subtracted, and nobody may lack one."""

import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


@pytest.fixture
def people(colour_images):
    """Return 24 images, the person of each (three of them) and which are neutral: the first two of each."""
    person = np.repeat(["ann", "bob", "cy"], 8)
    return colour_images[0], person, np.arange(24) % 8 < 2


def test_without_neutral_images_it_is_z1_prime(fitted_images, people):
    X, person, _ = people
    expected = fitted_images.encode(X).z1_prime.reshape(24, -1)
    np.testing.assert_allclose(fitted_images.transform(X, groups=person), expected)


def test_the_mean_z1_of_the_own_neutral_images_is_subtracted(fitted_images, people):
    X, person, neutral = people
    changed = fitted_images.transform(X, groups=person, neutral=neutral)
    z1 = fitted_images.encode(X).z1.reshape(24, -1)
    np.testing.assert_allclose(changed[8:16], z1[8:16] - z1[8:10].mean(0), atol=1e-5)
    assert changed.dtype == np.float32
    assert changed.shape == fitted_images.transform(X).shape


def test_neutral_images_may_come_apart(fitted_images, people):
    X, person, neutral = people
    apart = {name: X[neutral & (person == name)] for name in np.unique(person)}
    marked = fitted_images.transform(X, groups=person, neutral=neutral)
    np.testing.assert_allclose(fitted_images.transform(X, groups=person, neutral=apart), marked, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": None}, "neutral needs groups with the person of each of the 24 samples, but groups is None"),
        ({"groups": np.arange(3)}, r"but groups has shape \(3,\)\. Pass the subjects as groups"),
        ({"neutral": np.arange(24)}, r"neutral was expected to be 24 booleans, .* but has dtype int64"),
        ({"neutral": np.arange(24) < 8}, "2 of 3 have none: 'bob', 'cy'"),
        ({"neutral": {"ann": None}}, r"3 of 3 have none: 'ann', 'bob', 'cy' \(neutral names 'ann'\)"),
        ({"groups": np.array(["ann", None] * 12)}, "groups"),
        ({"groups": np.ma.MaskedArray(np.arange(24), np.arange(24) < 3)}, "3 of 24 names are missing"),
    ],
)
def test_what_does_not_fit_is_refused(fitted_images, people, change, message):
    X, person, neutral = people
    with pytest.raises(ValueError, match=message):
        fitted_images.transform(X, **{"groups": person, "neutral": neutral, **change})


def test_own_neutral_faces_are_subtracted_inside_a_pipeline(tiny, people):
    X, person, neutral = people
    y = np.where(neutral, "rest", "other")
    with sklearn.config_context(enable_metadata_routing=True):
        flow = tiny(max_epochs=1).set_fit_request(groups=True).set_transform_request(groups=True, neutral=True)
        pipeline = make_pipeline(flow, LogisticRegression()).fit(X, y, groups=person, neutral=neutral)
        assert pipeline.predict(X, groups=person, neutral=neutral).shape == (len(X),)
    by_hand = tiny(max_epochs=1).fit(X, y, groups=person).transform(X, groups=person, neutral=neutral)
    np.testing.assert_array_equal(pipeline[0].transform(X, groups=person, neutral=neutral), by_hand)
    one_call = tiny(max_epochs=1).fit_transform(X, y, groups=person, neutral=neutral)
    np.testing.assert_array_equal(one_call, by_hand)


def test_row_numbers_are_no_neutral_images(fitted_images, colour_images):
    X, _ = colour_images
    with pytest.raises(ValueError, match="neutral was expected to hold the images of each person, but holds a row"):
        fitted_images.transform(X[:4], groups=[0, 0, 1, 1], neutral={0: [0], 1: [3]})
