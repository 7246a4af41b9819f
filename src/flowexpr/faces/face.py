"""What is known of a face in a picture: its box, its eyes, how sure the detector is; and the square cut around it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["NO_FACE", "Box", "Face", "crop_face"]

Box = tuple[float, float, float, float]

NO_FACE = "no face found"
"""Why a picture has no crop, where none is seen in it."""

SIDE = 2.27
"""Side of a face's square, in distances between the eyes: from the brows' top to the chin, from cheek to cheek."""
ABOVE = 0.68
"""How much of the square lies above the eyes, in distances between them."""
MOST_SUPERSAMPLING = 8
"""Samples of a crop's pixel along one side, at most, where the picture is larger than the crop."""


@dataclass(frozen=True)
class Face:
    """One face.

    Parameters
    ----------
    box : tuple (left, top, right, bottom) of float
        In pixels of the picture; right and bottom are the first pixels outside.
    eyes : tuple ((x, y), (x, y)) or None, default=None
        Centres of the eye on the picture's left and of the one on its right, in pixels; None if unknown.
    score : float, default=nan
        How sure the detector is; higher is surer, the scale is the detector's own.
    """

    box: Box
    eyes: tuple[tuple[float, float], tuple[float, float]] | None = None
    score: float = float("nan")

    @classmethod
    def of_eyes(cls, eyes: Sequence[Sequence[float]], score: float = float("nan")) -> "Face":
        """Return the face whose eyes are here; its box is the upright square that has the size of the face."""
        (x0, y0), (x1, y1) = sorted((float(x), float(y)) for x, y in eyes)
        side = SIDE * float(np.hypot(x1 - x0, y1 - y0))
        down = np.array([-(y1 - y0), x1 - x0]) * (SIDE / 2 - ABOVE)
        x, y = (x0 + x1) / 2 + down[0], (y0 + y1) / 2 + down[1]
        return cls((x - side / 2, y - side / 2, x + side / 2, y + side / 2), ((x0, y0), (x1, y1)), score)

    @property
    def side(self) -> float:
        """Side of the face's square, pixels."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box, pixels."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    @property
    def angle(self) -> float:
        """How far the line between the eyes is turned, radians; 0 where the eyes are unknown."""
        if self.eyes is None:
            return 0.0
        (x0, y0), (x1, y1) = self.eyes
        return float(np.arctan2(y1 - y0, x1 - x0))

    def moved(self, dx: float, dy: float, scale: float = 1.0) -> "Face":
        """Return the face in a picture that was enlarged by `scale` and whose origin then moved by (-dx, -dy)."""
        left, top, right, bottom = self.box
        box = (left * scale + dx, top * scale + dy, right * scale + dx, bottom * scale + dy)
        if self.eyes is None:
            return Face(box, None, self.score)
        first, second = ((x * scale + dx, y * scale + dy) for x, y in self.eyes)
        return Face(box, (first, second), self.score)


def crop_face(image: Image.Image, face: Face, size: tuple[int, int] | None, margin: float) -> Image.Image:
    """Cut out the square around a face, turned so that the eyes lie level, and resize it.

    Parameters
    ----------
    image : PIL.Image.Image
        The picture, of mode "L" or "RGB".
    face : Face
        The face; where its eyes are unknown the box is cut out unturned.
    size : tuple (height, width) or None
        Size of the crop in pixels; of other proportions than a square's, the square's middle is taken. None keeps
        the picture's resolution.
    margin : float
        Room around the face's square, on every side, as a share of its side.

    Returns
    -------
    crop : PIL.Image.Image
        Beyond the picture's edge its outermost pixels are repeated.

    Raises
    ------
    ValueError
        If the square lies outside the picture, or is so large that it has more pixels than Pillow reads.
    """
    side = max(face.side * (1 + 2 * margin), 1.0)
    height, width = size or (max(1, round(side)), max(1, round(side)))
    step = side / max(height, width)  # picture pixels of one crop pixel
    right = step * np.array([np.cos(face.angle), np.sin(face.angle)])
    down = np.array([-right[1], right[0]])
    first = np.array(face.centre) - right * width / 2 - down * height / 2
    corners = first + np.array([[0, 0], width * right, height * down, width * right + height * down])
    source, origin = _region(image, corners)
    first = first - origin
    dense = int(np.clip(np.ceil(step), 1, MOST_SUPERSAMPLING))
    x, y = right / dense, down / dense
    # Pillow samples at the centres of pixels.
    turned = source.transform(
        (width * dense, height * dense),
        Image.Transform.AFFINE,
        (x[0], y[0], first[0], x[1], y[1], first[1]),
        Image.Resampling.BILINEAR if dense > 1 else Image.Resampling.BICUBIC,
    )
    return turned.reduce(dense) if dense > 1 else turned


def _region(image: Image.Image, corners: NDArray[np.float64]) -> tuple[Image.Image, NDArray[np.float64]]:
    """Return the part of the picture around the corners, its edge repeated as far as needed, and where it begins."""
    least = np.floor(corners.min(0)).astype(int) - 3
    most = np.ceil(corners.max(0)).astype(int) + 3
    limit = np.array(image.size)
    if (least >= 0).all() and (most <= limit).all():
        return image.crop((*least, *most)), least.astype(float)
    if (corners.max(0) <= 0).any() or (corners.min(0) >= limit).any():
        raise ValueError(f"the face's box lies outside the picture of {limit[0]} x {limit[1]} pixels")
    if np.prod(most - least, dtype=float) > 2 * (Image.MAX_IMAGE_PIXELS or math.inf):
        raise ValueError(f"the face's box is too large for the picture of {limit[0]} x {limit[1]} pixels")
    low, high = np.clip(least, 0, limit - 1), np.clip(most, 1, limit)
    inside = np.asarray(image.crop((*low, *high)))
    around = [(low[1] - least[1], most[1] - high[1]), (low[0] - least[0], most[0] - high[0])]
    padded = np.pad(inside, [*around, (0, 0)][: inside.ndim], mode="edge")
    return Image.fromarray(padded), least.astype(float)
