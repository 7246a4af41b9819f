"""Where faces are found: as they come, turned, darkened, shrunk; and not where there are none."""

import numpy as np
import pytest
from PIL import Image

from flowexpr.faces import Face, detectors, find_faces, make_detector
from flowexpr.faces.detectors import detect_with

EYES = np.array([[125.0, 102.0], [172.0, 103.0]])
"""Where the astronaut's eyes are, by eye."""


def test_eyes_are_where_they_are(astronaut):
    face = find_faces(astronaut)[0]
    assert np.abs(np.array(face.eyes) - EYES).max() < 0.25 * np.ptp(EYES[:, 0])
    assert face.box[0] < 145 < face.box[2]


@pytest.mark.parametrize("degrees", [-20, 20])
def test_tilted_face_is_found_with_its_angle(astronaut, degrees):
    turned = np.asarray(Image.fromarray(astronaut).rotate(degrees, Image.Resampling.BICUBIC))
    upright, face = find_faces(astronaut)[0], find_faces(turned)[0]
    assert abs(np.degrees(face.angle - upright.angle) + degrees) < 5


def test_dark_and_small_faces_are_found(astronaut):
    assert find_faces((astronaut * 0.15).astype(np.uint8))
    assert find_faces(np.asarray(Image.fromarray(astronaut).resize((90, 90), Image.Resampling.LANCZOS)))


def test_what_is_surely_a_face_needs_not_be_like_the_average_one(astronaut, monkeypatch):
    (usual,) = find_faces(astronaut, tilted=False)
    monkeypatch.setattr(detectors, "LEAST_LIKE", 0.9)  # as if it wore glasses
    (face,) = find_faces(astronaut, tilted=False)
    assert face.eyes is None
    assert face.score == usual.score
    assert abs(face.side / usual.side - 1) < 0.15
    assert np.abs(np.subtract(face.centre, usual.centre)).max() < 0.1 * usual.side
    small = np.pad(astronaut, ((0, 300), (0, 300), (0, 0)), mode="edge")
    assert find_faces(small, tilted=False) == []
    monkeypatch.setattr(detectors, "SURE_NEIGHBOURS", 10_000)
    assert find_faces(astronaut, tilted=False) == []


@pytest.mark.parametrize("name", ["coins", "brick", "chelsea", "gravel"])
def test_nothing_is_found_where_there_is_no_face(name):
    assert find_faces(getattr(pytest.importorskip("skimage.data"), name)()) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (23, 23), (30, 4)])
def test_tiny_pictures_have_no_face(shape):
    assert find_faces(np.zeros(shape, np.uint8)) == []


def test_callable_returns_boxes_and_landmarks():
    def mine(image):
        return [[10, 20, 50, 60]], [[[40, 30], [20, 32]]]

    face = detect_with(make_detector(mine), np.zeros((80, 80), np.uint8))[0]
    assert face.box == (10, 20, 50, 60)
    assert face.eyes == ((20, 32), (40, 30))


@pytest.mark.parametrize("result", [None, [[1, 2, 3, 4]], ([[5, 5, 1, 1]], None), ([[1, 2, 3]], None)])
def test_wrong_callable_is_told(result):
    with pytest.raises(ValueError, match="a detector was expected to return"):
        detect_with(lambda image: result, np.zeros((8, 8), np.uint8))


def test_unknown_detector_is_told():
    with pytest.raises(ValueError, match="detector='retina' was expected to be one of cascade, haar, none"):
        make_detector("retina")


@pytest.mark.parametrize("light", [1.0, 0.1])
def test_haar_cascade_finds_eyes(astronaut, light):
    pytest.importorskip("cv2")
    face = detect_with(make_detector("haar"), (light * astronaut).astype(np.uint8))[0]
    assert face.box[0] < 145 < face.box[2]
    assert face.eyes is not None
    assert np.abs(np.array(face.eyes) - EYES).max() < 8


def test_yunet_rows_become_faces(tmp_path, monkeypatch):
    cv2 = pytest.importorskip("cv2")
    row = np.array([10, 20, 40, 50, 22, 35, 42, 36, 30, 45, 25, 55, 40, 55, 0.9], np.float32)

    class Network:
        def setInputSize(self, size):
            assert size == (100, 80)

        def detect(self, image):
            assert image.shape == (80, 100, 3)
            return 1, row[None]

    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: Network(), raising=False)
    (tmp_path / "yunet.onnx").touch()
    face = detect_with(make_detector(str(tmp_path / "yunet.onnx")), np.zeros((80, 100), np.uint8))[0]
    assert face.box == (10, 20, 50, 70)
    assert face.eyes == ((22, 35), (42, 36))
    assert face.score == pytest.approx(0.9)


@pytest.mark.parametrize("returned", [([[0, 0, 9, 9]], [], None), ([[0, 0, 9, 9]], None, [0.5, 0.6])])
def test_landmarks_and_scores_are_of_every_box(returned):
    with pytest.raises(ValueError, match=r"was expected to return (landmarks|scores) for 1 boxes, but gave [02]"):
        detect_with(lambda image: returned, np.zeros((20, 20), np.uint8))


def test_a_file_that_is_no_network_is_told(tmp_path):
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "FaceDetectorYN"):
        pytest.skip("this OpenCV has no FaceDetectorYN")
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(ValueError, match="was expected to be a YuNet model"):
        make_detector(tmp_path / "junk.onnx")


def test_a_turned_copy_has_to_be_clearly_surer_than_the_picture(monkeypatch):
    upright, turned = (
        Face((10, 10, 50, 50), ((20, 25), (40, 25)), 0.5),
        Face((14, 10, 54, 50), ((22, 20), (42, 30)), 0.55),
    )
    monkeypatch.setattr(detectors, "_upright", lambda grey: [upright])
    monkeypatch.setattr(detectors, "_turned", lambda grey, degrees: [turned])
    assert find_faces(np.zeros((64, 64), np.uint8)) == [upright]
    monkeypatch.setattr(detectors, "CLEARLY", 0.04)
    assert find_faces(np.zeros((64, 64), np.uint8)) == [turned]


def test_faces_are_found_in_what_is_read(astronaut):
    assert [face.box for face in find_faces(Image.fromarray(astronaut))] == [face.box for face in find_faces(astronaut)]
