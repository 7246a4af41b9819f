"""Faces within a page: many small ones on one sheet, a few larger ones as pictures of their own."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from flowexpr.display.faces import as_rgb

__all__ = ["FaceSheet", "face_sheet", "picture"]

LARGEST_TILE = 48
LARGEST_PICTURE = 112
"""Side of a picture of its own, at most, in pixels: the page shows none larger."""
BUDGET = 4_000_000
"""Bytes that a sheet may take; a third more once it is text in the page."""


@dataclass(frozen=True)
class FaceSheet:
    """Many faces in one picture, row by row.

    Attributes
    ----------
    source : str
        The picture as a data URI.
    columns, rows : int
        How many there are in a row, and how many rows.
    """

    source: str
    columns: int
    rows: int


def face_sheet(images: np.ndarray) -> FaceSheet:
    """Put faces onto one sheet, coarser where it would grow too large.

    Parameters
    ----------
    images : ndarray of shape (n, H, W), (n, H, W, 1) or (n, H, W, 3)
        uint8, or float as `flowexpr.display.faces.as_rgb` reads it.

    Returns
    -------
    sheet : FaceSheet
        Faces of at most 48 pixels, their proportions kept, as JPEG.
    """
    faces = _as_bytes(images)
    # A multiple of JPEG's blocks of 16 pixels, so that no face bleeds into its neighbour.
    tile = 16 * math.ceil(min(LARGEST_TILE, max(faces.shape[1:3])) / 16)
    columns = math.ceil(math.sqrt(len(faces)))
    rows = math.ceil(len(faces) / columns)
    sheet = Image.new("RGB", (columns * tile, rows * tile), (128, 128, 128))
    for number, face in enumerate(faces):
        small = Image.fromarray(face)
        small.thumbnail((tile, tile), Image.Resampling.LANCZOS)
        x, y = number % columns * tile, number // columns * tile
        sheet.paste(small, (x + (tile - small.width) // 2, y + (tile - small.height) // 2))
    return FaceSheet(_jpeg_within(sheet, BUDGET), columns, rows)


def picture(image: np.ndarray) -> str:
    """Return one image as a data URI: as it is where it is small, else as large as the page shows it."""
    face = _as_bytes(image[np.newaxis])[0]
    is_grey = bool((face[..., :1] == face).all())
    small = Image.fromarray(face[..., 0] if is_grey else face)
    small.thumbnail((LARGEST_PICTURE, LARGEST_PICTURE), Image.Resampling.LANCZOS)
    return _data_uri(small, "png", 0)


def _as_bytes(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.round(as_rgb(images) * 255), dtype=np.uint8)


def _jpeg_within(sheet: Image.Image, budget: int) -> str:
    for quality in (88, 75, 60, 40):
        source = _data_uri(sheet, "jpeg", quality)
        if len(source) * 3 / 4 <= budget:
            break
    return source


def _data_uri(image: Image.Image, kind: str, quality: int) -> str:
    file = io.BytesIO()
    image.save(file, kind, quality=quality, optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
