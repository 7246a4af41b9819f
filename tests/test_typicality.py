"""Typicality: low for what is foreign, about uniform for new samples of the same kind, saved with the model."""

import numpy as np
import pytest
from scipy.stats import kstest, multivariate_normal

import flowexpr
from flowexpr.typicality import Gaussian, TypicalityReference


@pytest.fixture(scope="module")
def reference():
    """Return a reference of 10 people with 20 correlated samples each in two views, and a way to draw more people."""
    random = np.random.default_rng(0)
    mixing = random.normal(size=(4, 12))

    def draw(n_people, n_samples):
        people = np.repeat(random.normal(size=(n_people, 4)), n_samples, axis=0)
        z1 = (people + 0.3 * random.normal(size=people.shape)) @ mixing + 0.3 * random.normal(size=(len(people), 12))
        return {"levels": 5 + random.normal(size=(len(z1), 2)), "z1": z1}

    return TypicalityReference.of(draw(40, 10), np.repeat(np.arange(40), 10)), draw


def test_typicality_of_new_people_is_about_uniform(reference):
    fitted, draw = reference
    assert kstest(fitted.typicality(draw(500, 1)), "uniform").statistic < 0.15


@pytest.mark.parametrize("view", ["levels", "z1"])
def test_one_foreign_view_is_enough_to_be_atypical(reference, view):
    fitted, draw = reference
    views = draw(50, 1)
    views[view] = views[view][:, ::-1] * 3
    assert np.median(fitted.typicality(views)) < 0.01


def test_typicality_still_falls_beyond_every_training_sample(reference):
    fitted, draw = reference
    views = draw(1, 1)
    far = np.concatenate([fitted.typicality(views | {"z1": views["z1"] + shift}) for shift in (10, 20, 40, 80)])
    assert far[0] < 1 / 400
    assert (np.diff(far) < 0).all()
    assert (far > 0).all()


def test_what_is_no_number_is_not_typical(reference):
    fitted, draw = reference
    assert fitted.typicality(draw(1, 2) | {"z1": np.full((2, 12), np.nan)}).tolist() == [0, 0]


def test_without_groups_similar_samples_stand_for_people(reference):
    _, draw = reference
    views = draw(40, 10)
    unnamed = TypicalityReference.of(views, None)
    shuffled = TypicalityReference.of(views, np.arange(400))
    new = draw(500, 1)
    assert unnamed.typicality(new).mean() > shuffled.typicality(new).mean()


def test_full_rank_is_the_mahalanobis_distance():
    X = np.random.default_rng(0).normal(size=(400, 3)) @ np.array([[2.0, 1.0, 0], [0, 1.0, 1.0], [0, 0, 0.5]])
    fitted = Gaussian.of(X, 2)
    covariance = np.cov(X.T, bias=True)
    at_mean = multivariate_normal(X.mean(0), covariance).logpdf(X.mean(0))
    by_hand = 2 * (at_mean - multivariate_normal(X.mean(0), covariance).logpdf(X))
    np.testing.assert_allclose(3 * np.exp(fitted.log_distance(X)), by_hand, rtol=1e-6)


def test_flat_images_are_less_typical_than_training_images(fitted_images, colour_images):
    flat = np.full((4, 16, 16, 3), 90, dtype=np.uint8)
    assert fitted_images.typicality(flat).max() < np.quantile(fitted_images.typicality(colour_images[0]), 0.05)


def test_typicality_is_between_0_and_1(fitted_images, fitted_vectors, colour_images, two_features):
    for clf, X in ((fitted_images, colour_images[0]), (fitted_vectors, two_features[0])):
        values = clf.typicality(X)
        assert values.shape == (len(X),)
        assert values.dtype == np.float64
        assert ((values > 0) & (values < 1)).all()


def test_typicality_survives_saving(fitted_images, colour_images, tmp_path):
    fitted_images.save(tmp_path / "model.flowexpr")
    loaded = flowexpr.load(tmp_path / "model.flowexpr")
    assert np.array_equal(loaded.typicality(colour_images[0]), fitted_images.typicality(colour_images[0]))


def test_the_reference_holds_no_row_for_each_sample(fitted_images, colour_images):
    n = len(colour_images[0])
    arrays = fitted_images.typicality_reference_.to_arrays()
    assert [name for name, array in arrays.items() if array.ndim == 2 and len(array) >= n] == []
