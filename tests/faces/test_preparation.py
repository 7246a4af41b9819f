"""What is done to an image: its size, its channels, its crop."""

import numpy as np
import pytest
from PIL import Image

from flowexpr.exceptions import UnreadableImageError
from flowexpr.faces import FacePreparation


@pytest.fixture
def wide(tmp_path):
    """Return a file of 20 x 40 pixels, whose left half is red and whose right half is blue."""
    pixels = np.zeros((20, 40, 3), dtype=np.uint8)
    pixels[:, :20, 0] = pixels[:, 20:, 2] = 200
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    return tmp_path / "wide.png"


def test_nothing_asked_for_leaves_the_image(wide):
    assert FacePreparation().read(wide).shape == (20, 40, 3)


def test_other_proportions_are_cropped_and_not_stretched(wide):
    square = FacePreparation((10, 10)).read(wide)
    assert square.shape == (10, 10, 3)
    # The middle 20 x 20 pixels: red and blue in equal parts.
    assert (square[:, :4, 0] > 190).all()
    assert (square[:, 6:, 2] > 190).all()


def test_grey_has_one_channel_and_colour_three(wide):
    assert FacePreparation(grey=True).read(wide).shape == (20, 40, 1)
    assert FacePreparation(grey=False).read(wide).shape == (20, 40, 3)


def test_box_is_cut_out_in_shares(wide):
    right = FacePreparation(crop=(0.5, 0.25, 1.0, 0.75)).read(wide)
    assert right.shape == (10, 20, 3)
    assert (right == [0, 0, 200]).all()


def test_box_of_less_than_a_pixel_is_one_pixel(wide):
    assert FacePreparation(crop=(0.5, 0.5, 0.501, 0.501)).read(wide).shape == (1, 1, 3)


def test_state_rebuilds_it():
    for made in (
        FacePreparation(),
        FacePreparation((48, 64), True, (0.1, 0.0, 0.9, 1.0)),
        FacePreparation(crop="face"),
    ):
        assert FacePreparation.from_state(made.state()) == made


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_size": (0, 8)}, r"image_size=\(0, 8\) was expected to be \(height, width\)"),
        ({"crop": "faces"}, "crop='faces' was expected to be 'face', or"),
        ({"crop": (0.5, 0, 0.4, 1)}, "0 <= left < right <= 1"),
        ({"crop": (10, 10, 50, 50)}, "in shares of width and height"),
        ({"crop": [[0, 1], [0]]}, "in shares of width and height"),
        ({"crop": (0, 0, 1, None)}, "in shares of width and height"),
        ({"crop": 0.5}, "in shares of width and height"),
    ],
)
def test_wrong_settings_are_an_error(fields, message):
    with pytest.raises(ValueError, match=message):
        FacePreparation(**fields)


@pytest.fixture(scope="module")
def portrait():
    """Return scikit-image's photograph of an astronaut, whose face lies around row 110, column 225."""
    return pytest.importorskip("skimage.data").astronaut()


class TestFace:
    """Cutting out the face that scikit-image's cascade finds."""

    def test_face_is_cut_out(self, tmp_path, portrait):
        Image.fromarray(portrait[:300, 80:380]).save(tmp_path / "portrait.png")
        face = FacePreparation((64, 64), crop="face").read(tmp_path / "portrait.png")
        whole = FacePreparation(crop="face").read(tmp_path / "portrait.png")
        assert face.shape == (64, 64, 3)
        assert whole.shape[0] == whole.shape[1]
        assert 70 < whole.shape[0] < 200

    def test_no_face_is_the_reason(self, tmp_path):
        Image.new("L", (100, 100), 90).save(tmp_path / "blank.png")
        with pytest.raises(UnreadableImageError, match="no face found"):
            FacePreparation(crop="face").read(tmp_path / "blank.png")


@pytest.mark.parametrize("size", [64, (64,), (64, 0), "64"])
def test_sizes_are_pairs(size):
    with pytest.raises(ValueError, match=r"was expected to be \(height, width\) in pixels"):
        FacePreparation(image_size=size)


def test_sequences_of_any_kind_are_boxes_and_sizes(wide):
    box = (0.5, 0.25, 1.0, 0.75)
    expected = FacePreparation((8, 8), crop=box).read(wide)
    for kind in (list, np.array):
        np.testing.assert_array_equal(FacePreparation([8, 8], crop=kind(box)).read(wide), expected)
