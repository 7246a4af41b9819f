"""Maps of the evidence: smoothed where they are shown alone, and loud where they are not complete."""

import warnings

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from flowexpr.explain import pixel_map
from flowexpr.explain.evidence import EvidenceModel
from flowexpr.explain.regions import REGIONS, frame_of_average_face, region_labels


def test_regions_sum_the_map_before_it_is_smoothed(fitted_images, colour_images, monkeypatch):
    landmarks = np.array([[[4, 5], [11, 5], [8, 8], [5, 11], [10, 11]]])
    (shown,) = fitted_images.explain(colour_images[0][:1], counterfactual=False, landmarks=landmarks)
    monkeypatch.setattr(pixel_map, "SMOOTHING", 0.0)
    (raw,) = fitted_images.explain(colour_images[0][:1], counterfactual=False, landmarks=landmarks)
    np.testing.assert_allclose(gaussian_filter(raw.pixel_map, 16 / 20), shown.pixel_map, atol=1e-12)
    assert shown.regions == raw.regions
    assert shown.pixel_map.sum() == pytest.approx(raw.pixel_map.sum())


def test_incomplete_maps_are_told(fitted_images, colour_images, monkeypatch):
    monkeypatch.setattr(pixel_map, "MOST_STEPS", 0)
    monkeypatch.setattr(pixel_map, "TOLERANCE", 0.0)
    monkeypatch.setattr(pixel_map, "LEAST_GAP", 0.0)
    with pytest.warns(UserWarning, match="2 of 2 maps do not sum to the evidence that they divide up"):
        explained = fitted_images.explain(colour_images[0][:2], counterfactual=False)
    for one in explained:
        change = one.evidence - one.baseline_evidence
        assert one.completeness == pytest.approx(abs(one.pixel_map.sum() - change) / abs(change), rel=1e-3)


def test_maps_that_are_no_numbers_are_told(fitted_images, colour_images, monkeypatch):
    monkeypatch.setattr(EvidenceModel, "gradient", lambda self, x, a, b: (torch.full((len(x),), torch.nan), x))
    with pytest.warns(UserWarning, match="the worst is off by nan nats"):
        fitted_images.explain(colour_images[0][:1], counterfactual=False)


@pytest.mark.parametrize("side", [2, 4, 8, 11])
def test_small_faces_have_a_frame(side):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = frame_of_average_face(np.random.default_rng(0).random((side, side)))
    assert np.isfinite([*frame.origin, *frame.down]).all()
    assert region_labels((side, side), frame).max() <= len(REGIONS)


def test_far_from_all_faces_pixels_stay_between_black_and_white(fitted_images, colour_images):
    model = EvidenceModel(fitted_images._predictor())
    x = model.decide(colour_images[0][:2].reshape(2, -1), None, None).x
    far = [50 * level for level in model.encode(x)]
    assert model.model.decode(tuple(far)).abs().max() > 1
    assert model.decode(far).abs().max() <= 0.5
