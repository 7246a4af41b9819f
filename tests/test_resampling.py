"""Oversampling: how many of what, drawn around the right latents, and from nothing but what is passed."""

import numpy as np
import pytest

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


def test_no_row_outside_the_training_fold_enters(tiny, colour_images, imbalanced):
    """The same fold beside two different test folds: flow and generated faces are the same, bit for bit."""
    (X, y), training = imbalanced, np.arange(15)
    grown = []
    for test_pixel in (0, 255):
        everything = np.concatenate([X, np.full((5, 16, 16, 3), test_pixel, dtype=np.uint8)])
        labels = np.concatenate([y, np.full(5, "joy")])
        clf = tiny(max_epochs=1).fit(everything[training], labels[training])
        grown.append(clf.oversample(everything[training], labels[training], random_state=0)[0])
    assert np.array_equal(*grown)


def test_a_class_without_samples_is_refused(fitted_images, imbalanced):
    X, y = imbalanced
    with pytest.raises(ValueError, match=r"samples of every class were expected, but counts are \[8, 5, 0\]"):
        fitted_images.oversample(X[:13], y[:13])
    with pytest.raises(ValueError, match="n_per_class was expected to be at least 1, but is 0"):
        fitted_images.oversample(X, y, n_per_class=0)


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
