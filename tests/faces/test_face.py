"""The square that is cut out around a face."""

import numpy as np
import pytest
from PIL import Image

from flowexpr.faces import Face, crop_face
from flowexpr.faces.tracking import choose_face


def test_box_is_cut_out_and_resized():
    pixels = np.zeros((60, 80), np.uint8)
    pixels[20:40, 30:50] = 200
    crop = np.asarray(crop_face(Image.fromarray(pixels), Face((30, 20, 50, 40)), (20, 20), 0.0))
    assert (crop == 200).all()


def test_margin_is_a_share_of_the_side():
    pixels = np.zeros((60, 80), np.uint8)
    pixels[20:40, 30:50] = 200
    crop = np.asarray(crop_face(Image.fromarray(pixels), Face((30, 20, 50, 40)), (40, 40), 0.5))
    assert (crop[11:29, 11:29] == 200).all()
    assert (crop[:9] == 0).all()


def test_eyes_lie_level_in_the_crop():
    pixels = np.zeros((200, 200), np.uint8)
    for x, y in ((80, 90), (120, 110)):
        pixels[y - 3 : y + 4, x - 3 : x + 4] = 255
    crop = np.asarray(crop_face(Image.fromarray(pixels), Face.of_eyes([(80.5, 90.5), (120.5, 110.5)]), (64, 64), 0.0))
    left, right = crop[:, :32], crop[:, 32:]
    rows = [np.average(np.arange(64), weights=half.sum(1)) for half in (left, right)]
    assert abs(rows[0] - rows[1]) < 0.3


def test_beyond_the_edge_the_edge_is_repeated():
    crop = np.asarray(crop_face(Image.new("RGB", (20, 20), (9, 8, 7)), Face((-30, -30, 50, 50)), (16, 16), 0.0))
    assert (crop == (9, 8, 7)).all()


def test_without_a_size_the_resolution_is_kept():
    assert crop_face(Image.new("L", (80, 80)), Face((10, 10, 50, 50)), None, 0.0).size == (40, 40)


@pytest.mark.parametrize("box", [(100, 10, 120, 30), (-40, -40, -5, -5)])
def test_a_box_outside_the_picture_is_told(box):
    with pytest.raises(ValueError, match="the face's box lies outside the picture of 80 x 60 pixels"):
        crop_face(Image.new("L", (80, 60)), Face(box), (20, 20), 0.0)


def test_a_box_larger_than_any_picture_is_told():
    with pytest.raises(ValueError, match="the face's box is too large for the picture of 80 x 60 pixels"):
        crop_face(Image.new("L", (80, 60)), Face((-30000, -30000, 30000, 30000)), (20, 20), 0.0)


def test_the_central_face_is_that_of_a_wide_picture():
    middle, corner = Face((140, 40, 160, 60)), Face((40, 140, 60, 160))
    assert choose_face([corner, middle], "central", (100, 300)) is middle
    assert choose_face([corner, middle], "central", (300, 100)) is corner
