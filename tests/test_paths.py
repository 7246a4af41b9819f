"""Paths between two faces: they begin at one, end at the other, and are straight in the latent space."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from flowexpr.paths import interpolate


def test_path_leads_from_one_image_to_the_other(fitted_images, colour_images):
    X, _ = colour_images
    path = interpolate(fitted_images, X[:3], X[3:6], [0, 0.5, 1])
    assert path.shape == (3, 3, 16, 16, 3)
    np.testing.assert_array_equal(path[0], X[:3] >> 3 << 3)
    np.testing.assert_array_equal(path[2], X[3:6] >> 3 << 3)


def test_middle_has_the_mean_latents(fitted_images, colour_images):
    X, _ = colour_images
    first, last = fitted_images.encode(X[:2]), fitted_images.encode(X[2:4])
    middle = {name: (first[name] + last[name]) / 2 for name in ("z1", "z2")}
    assert np.array_equal(interpolate(fitted_images, X[:2], X[2:4], [0.5])[0], fitted_images.decode(middle))


def test_latents_serve_as_ends(fitted_images, colour_images):
    X, _ = colour_images
    latents = fitted_images.encode(X[:2])
    without_z1 = {name: latents[name] for name in ("z1_prime", "z2", "y")}
    for start in (latents, without_z1):
        path = interpolate(fitted_images, start, X[2:4], [0, 1])
        assert (path[0] != X[:2] >> 3 << 3).mean() < 1e-3


def test_vectors_have_paths(fitted_vectors, two_features):
    X, _ = two_features
    np.testing.assert_allclose(interpolate(fitted_vectors, X[:2], X[2:4])[-1], X[2:4], atol=1e-6)


def test_ends_come_in_pairs(fitted_images, colour_images):
    X, _ = colour_images
    with pytest.raises(ValueError, match="start holds 2 samples and end 3"):
        interpolate(fitted_images, X[:2], X[:3])


@pytest.mark.parametrize("steps", [[], 0.5, [np.nan]])
def test_steps_are_finite_numbers(steps, fitted_images, colour_images):
    X, _ = colour_images
    with pytest.raises(ValueError, match="steps was expected to be a sequence of finite numbers"):
        interpolate(fitted_images, X[:2], X[:2], steps)


def test_what_are_no_latents_of_the_model_is_told(fitted_images, colour_images):
    X, _ = colour_images
    z = fitted_images.encode(X[:2])
    with pytest.raises(ValueError, match="latents were expected to hold z1, z2, but z2 is missing"):
        interpolate(fitted_images, X[:2], {"z1": z.z1})
    with pytest.raises(ValueError, match="z1 was expected to have shape"):
        interpolate(fitted_images, z | {"z1": z.z1[:, :1]}, X[:2])
    np.testing.assert_array_equal(interpolate(fitted_images, z | {"more": 1}, z, [0.0])[0], fitted_images.decode(z))
    with pytest.raises(ValueError, match="steps was expected to be a sequence of finite numbers, but is 'ab'"):
        interpolate(fitted_images, z, z, "ab")


def test_an_unfitted_estimator_is_told(tiny):
    with pytest.raises(NotFittedError):
        interpolate(tiny(), {"z1": 0}, {"z1": 0})
