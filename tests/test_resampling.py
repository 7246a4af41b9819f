"""Oversampling: how many of what, drawn around the right latents, and from nothing but what is passed."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import cross_validate

from flowexpr.resampling import MOST_PER_CLASS, LatentGaussians, choose_measured


@pytest.fixture
def imbalanced(colour_images):
    """Return 15 of the colour images: 8 of anger, 5 of fear, 2 of joy."""
    X, y = colour_images
    rows = np.concatenate([np.flatnonzero(y == name)[:n] for name, n in (("anger", 8), ("fear", 5), ("joy", 2))])
    return X[rows], y[rows]


def test_every_class_becomes_as_frequent_as_the_largest(fitted_images, imbalanced):
    X, y = fitted_images.oversample(*imbalanced, random_state=0)
    assert np.unique(y, return_counts=True)[1].tolist() == [8, 8, 8]
    assert X.shape == (24, 16, 16, 3)
    assert X.dtype == np.uint8


def test_given_samples_come_first_and_unchanged(fitted_images, imbalanced):
    X, y = fitted_images.oversample(*imbalanced, random_state=0)
    assert np.array_equal(X[:15], imbalanced[0])
    assert np.array_equal(y[:15], imbalanced[1])


def test_n_per_class_says_how_many_there_shall_be(fitted_images, imbalanced):
    _, y = fitted_images.oversample(*imbalanced, n_per_class=6, random_state=0)
    assert np.unique(y, return_counts=True)[1].tolist() == [8, 6, 6]


def test_nothing_to_fill_up_changes_nothing(fitted_images, colour_images):
    X, y = fitted_images.oversample(*colour_images)
    assert np.array_equal(X, colour_images[0])
    assert np.array_equal(y, colour_images[1])


def test_generated_samples_differ_and_have_a_seed(fitted_images, imbalanced):
    first, again, other = (fitted_images.oversample(*imbalanced, random_state=seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(np.unique(first[15:].reshape(9, -1), axis=0)) == 9


def test_at_temperature_zero_a_sample_is_the_mean_of_its_class(fitted_images, imbalanced):
    X, y = imbalanced
    grown, labels = fitted_images.oversample(X, y, temperature=0.0)
    latents = fitted_images.encode(X[y == "joy"], "joy")
    mean = {name: latents[name].mean(0, keepdims=True) for name in latents if name not in ("y", "z1_prime")}
    assert np.abs(grown[labels == "joy"][-1].astype(int) - fitted_images.decode(mean)[0]).max() <= 8


class Oversampling(ClassifierMixin, BaseEstimator):
    """Fit a flow on what cross-validation passes, fill its rare classes up, and keep both."""

    def __init__(self, flow, *, before=None):
        self.flow = flow
        self.before = before  # all of the data, for the mistake of oversampling before the split

    def fit(self, X, y):
        self.flow_ = self.flow.fit(X, y)
        self.given_ = X, y
        self.grown_ = self.flow_.oversample(*(self.before or self.given_), random_state=0)
        self.classes_ = self.flow_.classes_
        return self

    def predict(self, X):
        return self.flow_.predict(X)


FOLDS = [(np.arange(15, 30), np.arange(15)), (np.arange(15), np.arange(15, 30))]


def fill_up_folds(tiny, X, y, *, leak=False):
    """Cross-validate on `FOLDS`; return what the flow was fitted on and what came of it, of every fold."""
    estimator = Oversampling(tiny(max_epochs=1), before=(X, y) if leak else None)
    found = cross_validate(estimator, X, y, cv=FOLDS, return_estimator=True)
    return [[*fitted.given_, *fitted.grown_] for fitted in found["estimator"]]


@pytest.mark.parametrize("leak", [False, True])
def test_no_row_outside_the_training_fold_enters(leak, tiny, imbalanced):
    """Other pixels and labels of the second fold's test rows change nothing that the fold learns from or generates."""
    X, y = (np.concatenate([part, part]) for part in imbalanced)
    X_other, y_other = X.copy(), y.copy()
    X_other[15:], y_other[15:] = 255 - X[15:], y[15:][::-1]
    as_given, changed = fill_up_folds(tiny, X, y, leak=leak), fill_up_folds(tiny, X_other, y_other, leak=leak)
    is_same = [list(map(np.array_equal, *folds)) for folds in zip(as_given, changed, strict=True)]
    assert not any(is_same[0])  # they are the training rows of the first fold
    assert is_same[1][:2] == [True, True]
    assert all(is_same[1]) == (not leak)  # the comparison sees a leak where there is one


@pytest.fixture(scope="module")
def fitted_floats(colour_images, tiny):
    """Return a classifier fitted on float32 images within 0..1."""
    X, y = colour_images
    return tiny(max_steps=1).fit((X / 255).astype(np.float32), y)


def test_bytes_become_what_the_model_was_fitted_on(fitted_floats, imbalanced):
    X, y = imbalanced
    of_bytes, of_floats = (
        fitted_floats.oversample(given, y, random_state=0)[0] for given in (X, (X / 255).astype(np.float32))
    )
    assert of_bytes.dtype == np.float32
    assert np.array_equal(of_bytes, of_floats)
    assert of_bytes[15:].max() <= 1


def test_bytes_are_scaled_where_nothing_is_generated_too(fitted_floats, colour_images):
    X, y = fitted_floats.oversample(*colour_images)
    np.testing.assert_allclose(X, colour_images[0] / 255, rtol=1e-6)
    assert X.dtype == np.float32
    assert np.array_equal(y, colour_images[1])


@pytest.mark.parametrize("temperature", [-0.1, np.nan, np.inf, "0.8", None])
def test_temperature_that_is_none_is_refused(temperature, fitted_images, imbalanced):
    with pytest.raises(ValueError, match="a temperature of at least 0 was expected, but came temperature="):
        fitted_images.oversample(*imbalanced, temperature=temperature)


def test_a_class_without_samples_is_refused(fitted_images, imbalanced):
    X, y = imbalanced
    with pytest.raises(ValueError, match=r"samples of every class were expected, but counts are \[8, 5, 0\]"):
        fitted_images.oversample(X[:13], y[:13])


def test_one_sample_a_class_tells_nothing(fitted_images, imbalanced):
    X, y = imbalanced
    first = np.unique(y, return_index=True)[1]
    with pytest.raises(ValueError, match="two samples of some class at least were expected"):
        fitted_images.oversample(X[first], y[first], n_per_class=4)


def test_unlabelled_samples_are_passed_through(tiny, imbalanced):
    X, y = imbalanced
    with_missing = np.where(np.arange(len(y)) % 5, y, "?")
    clf = tiny(max_epochs=1, unlabeled="?").fit(X, with_missing)
    X_more, y_more = clf.oversample(X, with_missing, random_state=0)
    np.testing.assert_array_equal(y_more[: len(y)], with_missing)
    np.testing.assert_array_equal(X_more[: len(y)], X)
    labelled = y_more[y_more != "?"]
    assert len(set(np.unique(labelled, return_counts=True)[1])) == 1
    assert len(X_more) == len(y_more) > len(y)


@pytest.mark.parametrize("n_per_class", [0, 2.5, np.float64(9), "9", True])
def test_number_that_counts_nothing_is_refused(n_per_class, fitted_images, imbalanced):
    with pytest.raises(ValueError, match="n_per_class was expected to be an integer of at least 1, but is"):
        fitted_images.oversample(*imbalanced, n_per_class=n_per_class)


def test_deviations_have_the_covariance_within_classes():
    random = np.random.default_rng(0)
    y = np.arange(4000) % 2
    z = random.normal(size=(4000, 2)) @ np.array([[2.0, 0.0], [1.0, 0.5]]) + 10 * y[:, np.newaxis]
    fitted = LatentGaussians([z[:, :1], z[:, 1:]], y)
    drawn = fitted.draw_deviations(20000, 0.5, np.random.RandomState(0))
    within = np.cov((z - np.stack([z[y == label].mean(0) for label in (0, 1)])[y]).T)
    np.testing.assert_allclose(np.cov(drawn.T), within / 4, atol=0.05)


def test_no_more_than_enough_of_a_class_are_measured():
    y = np.repeat([0, 1], [1000, 3])
    chosen = choose_measured(y, np.random.RandomState(0))
    assert np.bincount(y[chosen]).tolist() == [MOST_PER_CLASS, 3]


@pytest.mark.parametrize("n_per_class", [2, 4, 20])
def test_small_classes_vary_as_their_class_does(n_per_class):
    random, n_classes = np.random.default_rng(0), 7
    y = np.repeat(np.arange(n_classes), n_per_class)
    shares = []
    for seed in range(40):
        latents = LatentGaussians([random.normal(size=(len(y), 6))], y)
        shares.append(latents.draw_deviations(500, 1.0, np.random.RandomState(seed)).var())
    assert np.mean(shares) == pytest.approx(1, abs=0.06)
