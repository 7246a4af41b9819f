"""Finding a face in a photograph with scikit-image's cascade, whose weights come with its wheel."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["find_face"]

SMALLEST_SHARE = 0.25
"""Smallest face that is looked for, as a share of the image's shorter side."""


def find_face(image: NDArray[np.uint8]) -> tuple[int, int, int, int] | None:
    """Return a square box around the largest face of a grey image, or None.

    Parameters
    ----------
    image : ndarray of shape (H, W), uint8
        A photograph, upright.

    Returns
    -------
    box : tuple (left, top, right, bottom) of int, or None
        In pixels.

    Raises
    ------
    ImportError
        If scikit-image is not installed.
    """
    side = min(image.shape)
    smallest = max(24, round(SMALLEST_SHARE * side))
    found = _detector().detect_multi_scale(
        img=image,
        scale_factor=1.1,
        step_ratio=1,
        min_size=(smallest, smallest),
        max_size=(side, side),
    )
    if not found:
        return None
    face = max(found, key=lambda box: box["width"] * box["height"])
    left, top = int(face["c"]), int(face["r"])
    return left, top, left + int(face["width"]), top + int(face["height"])


@cache
def _detector() -> Any:
    try:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade
    except ImportError as error:
        raise ImportError(
            "crop='face' needs scikit-image, which is not installed. Install it with: pip install 'flowexpr[faces]'"
        ) from error
    return Cascade(lbp_frontal_face_cascade_filename())
