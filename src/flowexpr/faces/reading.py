"""Image files: finding them in a folder, and reading one whatever its format, depth and orientation."""

import os
import stat
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin

from flowexpr.exceptions import UnreadableImageError

__all__ = ["IMAGE_SUFFIXES", "find_files", "find_images", "read_image", "refuse_pipe"]

DEEP_GREY_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")
"""Pillow's names for grey levels of more than 8 bits; its own conversion to 8 bits clips them."""


IMAGE_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k"),
    *(".png", ".apng", ".gif", ".webp", ".avif", ".avifs"),
    *(".tif", ".tiff", ".bmp", ".dib", ".tga"),
    *(".pbm", ".pgm", ".ppm", ".pnm"),
}
"""Of the formats that Pillow registers those of photographs; data and video that lie beside them are no images."""


def find_images(folder: str | os.PathLike[str]) -> list[Path]:
    """Return every image file in a folder and its sub-folders, sorted by path; hidden ones are left out.

    Parameters
    ----------
    folder : path-like
        Where to look.

    Returns
    -------
    paths : list of Path
        Files whose suffix belongs to a format of photographs (`IMAGE_SUFFIXES`).
    """
    return find_files(folder, IMAGE_SUFFIXES)


def find_files(folder: str | os.PathLike[str], suffixes: set[str], without: Path | None = None) -> list[Path]:
    """Return the files in a folder and its sub-folders that have one of the suffixes, sorted by path, none hidden.

    A folder that may not be read is in the list itself, so that whoever reads the files is told of it. The sub-folder
    `without` is left out. Links to folders are followed; one that leads to a folder searched before leads nowhere.
    """
    left_out = without and without.resolve()
    found: list[Path] = []
    searched: set[Path] = set()
    walk = os.walk(folder, onerror=lambda error: found.append(Path(error.filename)), followlinks=True)
    for root, folders, files in walk:
        real = Path(root).resolve()
        if real in searched or real == left_out:
            folders.clear()
            continue
        searched.add(real)
        folders.sort(key=lambda name: os.path.islink(os.path.join(root, name)))
        folders[:] = [name for name in folders if not name.startswith(".")]
        wanted = (name for name in files if os.path.splitext(name)[1].lower() in suffixes)
        found.extend(Path(root, name) for name in wanted if not name.startswith("."))
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def describe_other_files(folder: str | os.PathLike[str]) -> str:
    """Return what a folder holds in which no image was found, in brackets, or nothing where it is empty."""
    names = (name for _, _, files in os.walk(folder) for name in sorted(files) if not name.startswith("."))
    first = next(names, None)
    if first is None:
        return ""
    return f" (an image ends in .png, .jpg or the like, and not as {first}: pass such files one by one to prepare)"


def read_image(path: str | os.PathLike[str]) -> Image.Image:
    """Read an image file as 8-bit grey ("L") or colour ("RGB"), turned upright as its EXIF data say.

    Parameters
    ----------
    path : path-like
        The file. Of an animation the first frame is read; transparency is dropped; 16-bit grey is scaled to 8 bits.

    Returns
    -------
    image : PIL.Image.Image
        Of mode "L" where red, green and blue are equal everywhere, else "RGB".

    Raises
    ------
    UnreadableImageError
        If the file is missing, is no image, is damaged, or has pixels of 32 bits, whose range nothing tells.
    """
    try:
        refuse_pipe(path)
        with Image.open(path) as opened:
            if opened.mode == "I" and 32 in getattr(opened, "tag_v2", {}).get(TiffImagePlugin.BITSPERSAMPLE, ()):
                raise UnreadableImageError(
                    "pixels are 32-bit integers without a known range; scale them to 8 or 16 bits"
                )
            image = ImageOps.exif_transpose(opened)
            image.load()
            return _to_8_bits(image)
    except FileNotFoundError as error:
        raise UnreadableImageError("no such file") from error
    except IsADirectoryError as error:
        others = describe_other_files(path)
        raise UnreadableImageError(f"a folder without images{others}, or one that may not be read") from error
    except PermissionError as error:
        raise UnreadableImageError("no permission to read it") from error
    except Image.UnidentifiedImageError as error:
        raise UnreadableImageError("not an image, or of a format that Pillow does not read") from error
    except UnreadableImageError:
        raise
    except Exception as error:  # damaged files make Pillow's decoders raise whatever their parsing runs into
        raise UnreadableImageError(str(error) or type(error).__name__) from error


def refuse_pipe(path: str | os.PathLike[str]) -> None:
    """Raise an UnreadableImageError for a pipe, of which nobody knows whether anything will ever come out."""
    if stat.S_ISFIFO(os.stat(path).st_mode):
        raise UnreadableImageError("a pipe, not a file")


def _to_8_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise UnreadableImageError("pixels are floats without a known range; scale them to 8 or 16 bits")
    if image.mode in DEEP_GREY_MODES:
        return Image.fromarray((np.asarray(image).astype(np.int64).clip(0, 65535) // 257).astype(np.uint8))
    if image.mode in ("L", "1", "LA", "La"):
        return image.convert("L")
    colour = image.convert("RGB")
    values = np.asarray(colour)
    if (values[..., 0] == values[..., 1]).all() and (values[..., 0] == values[..., 2]).all():
        return colour.getchannel(0)
    return colour
