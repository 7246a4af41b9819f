"""Maps of the evidence: smoothed where they are shown alone, and loud where they are not complete."""

import warnings

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from flowexpr import FlowExpressionClassifier, load
from flowexpr.datasets import make_faces
from flowexpr.explain import pixel_map
from flowexpr.explain.descent import normal_latents
from flowexpr.explain.evidence import EvidenceModel
from flowexpr.explain.regions import REGIONS, frame_of_average_face, region_labels


@pytest.fixture(scope="module")
def colour_faces():
    faces = make_faces(4, expressions=2, n_clips=2, n_frames=2, image_size=32, random_state=0)
    small = {"n_flows": 2, "hidden_channels": 16, "head_n_flows": 2, "head_hidden_channels": 16}
    clf = FlowExpressionClassifier(**small, max_steps=4, augment=False, random_state=0)
    return clf.fit(faces.images, faces.target), faces.images


def test_regions_sum_the_map_before_it_is_smoothed(fitted_images, colour_images, monkeypatch):
    landmarks = np.array([[[4, 5], [11, 5], [8, 8], [5, 11], [10, 11]]])
    (shown,) = fitted_images.explain(colour_images[0][:1], counterfactual=False, landmarks=landmarks)
    monkeypatch.setattr(pixel_map, "SMOOTHING", 0.0)
    (raw,) = fitted_images.explain(colour_images[0][:1], counterfactual=False, landmarks=landmarks)
    np.testing.assert_allclose(gaussian_filter(raw.pixel_map, 16 / 20), shown.pixel_map, atol=1e-12)
    assert shown.regions == raw.regions
    assert shown.pixel_map.sum() == pytest.approx(raw.pixel_map.sum())


def test_eyes_and_mouth_are_found_on_the_average_training_face_and_kept_in_the_file(colour_faces, tmp_path):
    clf, images = colour_faces
    frame = frame_of_average_face(images.mean((0, 3)))
    np.testing.assert_allclose(clf.face_frame_, [frame.origin, frame.down])
    clf.save(tmp_path / "faces.flowexpr")
    same = load(tmp_path / "faces.flowexpr")
    assert same.face_frame_ == clf.face_frame_
    (one,), (again,) = (model.explain(images[:1], counterfactual=False) for model in (clf, same))
    assert one.regions == again.regions
    del same.face_frame_  # as in a file of an earlier version
    with pytest.raises(ValueError, match="Pass landmarks"):
        same.explain(images[:1], counterfactual=False)


def test_regions_of_drawn_faces_hold_what_they_are_called(colour_faces):
    """Of the drawn faces the eyes lie at 0.47 of the height, and the mouth at 0.78."""
    clf, images = colour_faces
    (_, eyes), (_, down) = clf.face_frame_
    height = images.shape[1]
    assert eyes / height == pytest.approx(0.47, abs=0.05)
    assert (eyes + down) / height == pytest.approx(0.78, abs=0.05)


@pytest.mark.parametrize("size", [16, 32, 64])
@pytest.mark.parametrize("share", [0.65, 0.8, 1.0])
def test_eyes_and_mouth_are_found_in_tight_crops_too(size, share):
    """Tight ones as JAFFE's usual box, whose eyes lie at 0.3 of the height."""
    whole = make_faces(8, expressions=3, n_clips=1, n_frames=2, image_size=size, random_state=3).images.mean((0, 3))
    side, top = round(share * size), round((0.47 - 0.5 * share + 0.1 * (1 - share)) * size)
    left = (size - side) // 2
    rows = slice(max(top, 0), max(top, 0) + side)
    frame = frame_of_average_face(whole[rows, left : left + side])
    assert (frame.origin[1] + rows.start + 0.5) / size == pytest.approx(0.49, abs=0.04)
    assert frame.down[1] / size == pytest.approx(0.31, abs=0.06)


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
    decided = model.decide(colour_images[0][:2].reshape(2, -1), None, None)
    z1, normal = 50 * decided.z[0], [50 * level for level in normal_latents(model, decided)]
    with torch.inference_mode():
        assert model.model.backbone.inverse_of_normal(z1, normal).abs().max() > 1
    assert model.decode(z1, normal).abs().max() <= 0.5
