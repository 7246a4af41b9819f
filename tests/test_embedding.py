"""Maps of latents: what comes in that has no plane in it."""

import numpy as np
import pytest

from flowexpr.embedding import embed


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_points_on_a_line_have_a_map(method):
    latents = np.random.default_rng(0).normal(size=(12, 1))
    places = embed(latents.tolist(), method, random_state=0)
    assert places.shape == (12, 2)
    assert np.isfinite(places).all()


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_points_that_coincide_stay_together(method):
    assert np.array_equal(embed(np.ones((10, 3)), method), np.zeros((10, 2)))
