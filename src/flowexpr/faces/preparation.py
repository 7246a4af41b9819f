"""What is done to an image before it becomes a row of an array: cropping, resizing, grey or colour."""

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from flowexpr.exceptions import UnreadableImageError
from flowexpr.faces.detectors import find_faces
from flowexpr.faces.face import NO_FACE, Box, Face, crop_face
from flowexpr.faces.reading import read_image
from flowexpr.faces.tracking import choose_face

__all__ = ["FacePreparation", "fit_evenly"]

MARGIN = 0.05
"""Room around a face, as a share of its side."""


def fit_evenly(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize a picture to (height, width); one of other proportions is cropped evenly, never stretched."""
    return image if image.size == size[::-1] else ImageOps.fit(image, size[::-1], method=Image.Resampling.LANCZOS)


@dataclass(frozen=True)
class FacePreparation:
    """How a file becomes an array: the same for the images of training and of prediction.

    Parameters
    ----------
    image_size : tuple (height, width) or None, default=None
        Size in pixels; an image of other proportions is cropped evenly, never stretched. None keeps the file's size.
    grey : bool or None, default=None
        Grey (one channel) or colour (three). None leaves each file as it is: grey where red, green and blue are
        equal everywhere.
    crop : "face", sequence (left, top, right, bottom) or None, default=None
        "face" cuts out the largest face that is found, turned upright; four numbers give a box in shares of width and
        height, 0 to 1.
    margin : float, default=0.05
        With ``crop="face"``: room around the face, as a share of its side.

    Raises
    ------
    ValueError
        If a parameter is not what it must be.
    """

    image_size: tuple[int, int] | None = None
    grey: bool | None = None
    crop: str | Box | None = None
    margin: float = MARGIN

    def __post_init__(self) -> None:
        size, crop = self.image_size, self.crop
        is_pair = isinstance(size, tuple | list) and len(size) == 2
        if size is not None and not (is_pair and all(isinstance(side, int) and side > 0 for side in size)):
            raise ValueError(f"image_size={size!r} was expected to be (height, width) in pixels, or None.")
        if size is not None:
            object.__setattr__(self, "image_size", tuple(size))
        if crop is None or (isinstance(crop, str) and crop == "face"):
            return
        try:
            left, top, right, bottom = box = tuple(float(share) for share in crop)
        except (TypeError, ValueError):
            left = top = right = bottom = math.nan
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise ValueError(
                f"crop={crop!r} was expected to be 'face', or (left, top, right, bottom) in shares of width and "
                "height with 0 <= left < right <= 1 and 0 <= top < bottom <= 1."
            )
        object.__setattr__(self, "crop", box)

    def read(self, path: str | os.PathLike[str]) -> NDArray[np.uint8]:
        """Read and prepare one image file.

        Parameters
        ----------
        path : path-like
            The file.

        Returns
        -------
        image : ndarray of shape (H, W, C), uint8
            C is 1 or 3.

        Raises
        ------
        UnreadableImageError
            If the file cannot be read, or no face is found in it where one is to be cut out.
        """
        image = read_image(path)
        if self.crop != "face":
            return self.of(image)
        face = choose_face(find_faces(np.asarray(image)), "largest", image.size[::-1])
        if face is None:
            raise UnreadableImageError(NO_FACE)
        return self.of_face(image, face)

    def of(self, image: Image.Image) -> NDArray[np.uint8]:
        """Prepare a picture as it comes, or its box where `crop` gives one.

        Parameters
        ----------
        image : PIL.Image.Image
            The picture.

        Returns
        -------
        image : ndarray of shape (H, W, C), uint8
            C is 1 or 3.
        """
        if self.grey is not None:
            image = image.convert("L" if self.grey else "RGB")
        if isinstance(self.crop, tuple):
            image = image.crop(self._box(image))
        return self._sized(image)

    def of_face(self, image: Image.Image, face: Face) -> NDArray[np.uint8]:
        """Prepare the face of a picture, as `read` does with ``crop="face"``.

        Parameters
        ----------
        image : PIL.Image.Image
            The picture.
        face : Face
            Where the face is.

        Returns
        -------
        image : ndarray of shape (H, W, C), uint8
            C is 1 or 3.
        """
        if self.grey is not None:
            image = image.convert("L" if self.grey else "RGB")
        return self._sized(crop_face(image, face, self.image_size, self.margin))

    def _sized(self, image: Image.Image) -> NDArray[np.uint8]:
        pixels = np.asarray(image if self.image_size is None else fit_evenly(image, self.image_size))
        return pixels.reshape(*pixels.shape[:2], -1)

    def _box(self, image: Image.Image) -> tuple[int, int, int, int]:
        """Return the box to cut out, in pixels."""
        left, top, right, bottom = (float(share) for share in self.crop)  # type: ignore[union-attr]
        width, height = image.size
        box = (round(left * width), round(top * height), round(right * width), round(bottom * height))
        return box[0], box[1], max(box[2], box[0] + 1), max(box[3], box[1] + 1)

    def state(self) -> dict[str, Any]:
        """Return the settings as JSON holds them."""
        return {
            "image_size": None if self.image_size is None else list(self.image_size),
            "grey": self.grey,
            "crop": list(self.crop) if isinstance(self.crop, tuple) else self.crop,
            "margin": self.margin,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "FacePreparation":
        """Rebuild a preparation from what `state` returned."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in state.items()
        }
        return cls(**fields)
