"""Maps of the evidence: smoothed where they are shown alone, and loud where they are not complete."""

import warnings

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from flowexpr import FlowExpressionClassifier, load
from flowexpr.datasets import make_faces
from flowexpr.explain import pixel_map
from flowexpr.explain.evidence import EvidenceModel
from flowexpr.explain.regions import REGIONS, region_labels
from flowexpr.face_frame import frame_of_average_face
from flowexpr.fitted import predictor_of


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


def test_what_the_points_miss_is_divided_by_the_squares_of_the_ways(fitted_images, colour_images, monkeypatch):
    model = EvidenceModel(predictor_of(fitted_images))
    decided = model.decide(colour_images[0][:2].reshape(2, -1), None, None)
    start = decided.x.clone()
    start[:, :, 4:8, 4:8] *= 0.5
    ends = (start, decided.x, decided.a, decided.b)
    found = pixel_map.integrate_along_line(model, *ends)
    torch.testing.assert_close(found.maps.flatten(1).sum(1), found.end - found.start)
    assert found.maps[:, :, :4].abs().max() == 0  # what does not move gets no evidence
    monkeypatch.setattr(EvidenceModel, "gradient", lambda self, x, a, b: torch.ones_like(x))
    rough = pixel_map.integrate_along_line(model, *ends)
    assert found.missed.max() < rough.missed.min()
    way = (decided.x - start).double()
    delta = way.flatten(1).sum(1) - (found.end - found.start)
    share = way.square() / way.square().flatten(1).sum(1)[:, None, None, None]
    torch.testing.assert_close(rough.maps, way - delta[:, None, None, None] * share, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(rough.delta, delta, rtol=1e-4, atol=1e-6)


def test_many_points_change_no_map_much(colour_faces, monkeypatch):
    clf, images = colour_faces
    few = clf.explain(images[:4], counterfactual=False)
    monkeypatch.setattr(pixel_map, "N_POINTS", 200)
    for one, fine in zip(few, clf.explain(images[:4], counterfactual=False), strict=True):
        assert np.abs(one.pixel_map - fine.pixel_map).sum() < 0.1 * np.abs(fine.pixel_map).sum()
        assert abs(one.convergence_delta) < 0.01 * np.abs(fine.pixel_map).sum()


def test_maps_that_are_no_numbers_are_told(fitted_images, colour_images, monkeypatch):
    monkeypatch.setattr(EvidenceModel, "gradient", lambda self, x, a, b: torch.full_like(x, torch.nan))
    told = r"1 of 1 maps are rough \(of X\[0\]\).*The worst misses all of it"
    with pytest.warns(UserWarning, match=told) as caught:
        fitted_images.explain(colour_images[0][:1], counterfactual=False)
    assert [one.filename for one in caught] == [__file__]


def test_samples_of_rough_maps_are_named_in_one_warning(fitted_images, colour_images, monkeypatch):
    images, gradient = colour_images[0][:12], EvidenceModel.gradient
    monkeypatch.setattr(pixel_map, "LEAST_MISSED", 0.0)
    bad = iter([False, True, False, *[True] * 7, False, False])  # a line per pass
    monkeypatch.setattr(
        EvidenceModel, "gradient", lambda self, *line: gradient(self, *line) * (torch.nan if next(bad) else 1)
    )
    with pytest.warns(UserWarning, match=r"8 of 12 maps are rough \(of X\[1, 3, 4, 5, 6 and 3 more\]\)") as caught:
        fitted_images.explain(images, counterfactual=False)
    assert len(caught) == 1


def test_maps_of_what_is_lost_to_rounding_are_told(fitted_vectors, two_features):
    X = two_features[0][:1].astype(np.float64) + 1e25
    with pytest.warns(UserWarning, match=r"1 of 1 maps are rough \(of X\[0\]\).*by less than numbers of that size"):
        fitted_vectors.explain(X, counterfactual=False)


@pytest.mark.parametrize("shape", [(16, 64), (64, 16)])
def test_eyes_and_mouth_lie_within_images_of_any_shape(shape):
    frame = frame_of_average_face(np.random.default_rng(0).random(shape))
    eyes, mouth = frame.origin[1], frame.origin[1] + frame.down[1]
    assert 0 < eyes < mouth < shape[0]


def test_eyes_and_mouth_of_a_flat_image_are_where_faces_have_them():
    frame = frame_of_average_face(np.full((32, 32), 200 / 3))
    assert frame.origin[1] / 32 == pytest.approx(0.4)
    assert frame.down[1] / 32 == pytest.approx(0.36)


@pytest.mark.parametrize("side", [2, 4, 8, 11])
def test_small_faces_have_a_frame(side):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = frame_of_average_face(np.random.default_rng(0).random((side, side)))
    assert np.isfinite([*frame.origin, *frame.down]).all()
    assert region_labels((side, side), frame).max() <= len(REGIONS)


def test_far_from_all_faces_pixels_stay_between_black_and_white(fitted_images, colour_images):
    model = EvidenceModel(predictor_of(fitted_images))
    decided = model.decide(colour_images[0][:2].reshape(2, -1), None, None)
    z1, normal = 50 * decided.z1, [50 * level for level in decided.normal]
    with torch.inference_mode():
        assert model.model.backbone.inverse_of_normal(z1, normal).abs().max() > 1
    assert model.decode(z1, normal).abs().max() <= 0.5
