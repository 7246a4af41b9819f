"""Reading image files of every kind: depth, palette, orientation, animation, damage."""

from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from flowexpr.exceptions import UnreadableImageError
from flowexpr.faces import find_images, read_image

GREY = (np.arange(48).reshape(6, 8) * 5).astype(np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)


def written(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def test_colour_comes_back_as_it_was(tmp_path):
    image = read_image(written(tmp_path / "face.png", COLOUR))
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), COLOUR)


@pytest.mark.parametrize("kind", ["grey", "colour with equal channels", "palette", "grey with alpha"])
def test_grey_is_recognised_however_it_is_stored(tmp_path, kind):
    image = Image.fromarray(GREY)
    if kind == "colour with equal channels":
        image = image.convert("RGB")
    elif kind == "palette":
        image = image.convert("P")
    elif kind == "grey with alpha":
        image = image.convert("LA")
    image.save(tmp_path / "face.png")
    found = read_image(tmp_path / "face.png")
    assert found.mode == "L"
    np.testing.assert_array_equal(np.asarray(found), GREY)


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path):
    deep = (GREY.astype(np.uint16) * 257).astype(np.uint16)
    np.testing.assert_array_equal(np.asarray(read_image(written(tmp_path / "deep.png", deep))), GREY)
    np.testing.assert_array_equal(np.asarray(read_image(written(tmp_path / "deep.tiff", deep))), GREY)


def test_photograph_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    path = written(tmp_path / "phone.png", GREY, exif=exif)
    np.testing.assert_array_equal(np.asarray(read_image(path)), np.rot90(GREY, -1))


def test_first_frame_of_an_animation_is_read(tmp_path):
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(tmp_path / "two.tiff", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "two.tiff")), GREY)


@pytest.mark.parametrize("kind", [np.int32, np.uint32])
def test_pixels_of_32_bits_are_refused(tmp_path, kind):
    path = written(tmp_path / "counts.tiff", GREY.astype(kind))  # dark all over if they were taken for 16 bits
    with pytest.raises(UnreadableImageError, match="32-bit integers without a known range; scale them to 8 or 16"):
        read_image(path)


def test_float_pixels_are_refused(tmp_path):
    path = written(tmp_path / "thermal.tiff", GREY.astype(np.float32))
    with pytest.raises(UnreadableImageError, match="floats without a known range"):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.png", "no such file"), ("text.png", "not an image"), ("folder", "a folder"), ("half.png", "truncated")],
)
def test_the_reason_is_told(tmp_path, name, reason):
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "folder").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    whole = written(tmp_path / "whole.png", noise).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableImageError, match=reason):
        read_image(tmp_path / name)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow warns of some damage before it raises
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "tiff", "webp"])
def test_no_damage_raises_anything_else(tmp_path, suffix):
    random = np.random.default_rng(0)
    whole = written(tmp_path / f"whole.{suffix}", COLOUR).read_bytes()
    path = tmp_path / f"damaged.{suffix}"
    for _ in range(60):
        damaged = bytearray(whole[: random.integers(1, len(whole) + 1)])
        for place in random.integers(0, len(damaged), 4):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        with suppress(UnreadableImageError):
            assert read_image(path).mode in ("L", "RGB")


def test_images_are_found_in_order_and_hidden_ones_left_out(tmp_path):
    for name in ("b/2.png", "a/10.JPG", "a/9.jpg", ".hidden/1.png", "a/.3.png", "a/notes.txt", "c.tiff"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)] == [
        "a/10.JPG",
        "a/9.jpg",
        "b/2.png",
        "c.tiff",
    ]


def test_a_folder_of_files_of_other_names_is_told_of(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "subject01.happy", format="GIF")
    assert read_image(tmp_path / "subject01.happy").size == (8, 8)
    with pytest.raises(UnreadableImageError, match=r"a folder without images \(.*not as subject01.happy"):
        read_image(tmp_path)


def test_links_to_folders_are_followed_and_never_in_circles(tmp_path):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "faces"
    for path in (elsewhere / "1.png", folder / "anger" / "2.png"):
        path.parent.mkdir(parents=True)
        path.touch()
    (folder / "joy").symlink_to(elsewhere)
    (folder / "a link to anger").symlink_to(folder / "anger")
    (elsewhere / "back").symlink_to(folder)
    assert [path.relative_to(folder).as_posix() for path in find_images(folder)] == ["anger/2.png", "joy/1.png"]
