"""How good a crop is: its blur, brightness and contrast, and whether it is all but the one before."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import uniform_filter1d

__all__ = ["LARGEST_BLUR", "Quality", "is_near_duplicate", "quality_of", "thumbnail"]

LARGEST_BLUR = 0.75
"""Blur above which a crop is flagged; a sharp one has 0.3 to 0.5."""
DARKEST, BRIGHTEST, FLATTEST = 25.0, 230.0, 8.0
"""Mean grey levels, and the standard deviation, beyond which a crop is flagged."""
DUPLICATE = 1.0
"""Root mean square difference of thumbnails, grey levels, below which two crops are near-duplicates."""
BLUR_WIDTH = 9


class Quality(NamedTuple):
    """Measures of a crop.

    Attributes
    ----------
    blur : float
        0 for a sharp crop to 1 for one that blurring does not change any more [1]_.
    brightness, contrast : float
        Mean and standard deviation of the grey levels, 0 to 255.

    References
    ----------
    .. [1] Crete, Dolmiere, Ladret & Nicolas, "The blur effect: perception and estimation with a new no-reference
       perceptual blur metric", 2007.
    """

    blur: float
    brightness: float
    contrast: float

    def flags(self) -> list[str]:
        """Return what is the matter with the crop, in words."""
        found = {
            "blurred": self.blur > LARGEST_BLUR,
            "dark": self.brightness < DARKEST,
            "overexposed": self.brightness > BRIGHTEST,
            "flat": self.contrast < FLATTEST,
        }
        return [name for name, holds in found.items() if holds]


def quality_of(grey: NDArray[np.uint8]) -> Quality:
    """Measure a crop.

    Parameters
    ----------
    grey : ndarray of shape (H, W), uint8
        The crop.

    Returns
    -------
    quality : Quality
        Its measures.
    """
    levels = grey.astype(np.float32)
    blur = max(_blur_along(levels, axis) for axis in (0, 1))
    return Quality(blur, float(levels.mean()), float(levels.std()))


def _blur_along(levels: NDArray[np.float32], axis: int) -> float:
    """Return how much of the differences between neighbours is left after blurring."""
    before = np.abs(np.diff(levels, axis=axis))
    after = np.abs(np.diff(uniform_filter1d(levels, BLUR_WIDTH, axis=axis), axis=axis))
    total = before.sum()
    return float(1 - np.maximum(before - after, 0).sum() / total) if total else 1.0


def thumbnail(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return 16 x 16 grey levels, by which near-duplicates are told."""
    return np.asarray(Image.fromarray(grey).resize((16, 16), Image.Resampling.BOX), dtype=np.float32)


def is_near_duplicate(first: NDArray[np.float32], second: NDArray[np.float32]) -> bool:
    """Tell whether two thumbnails show all but the same."""
    return bool(np.sqrt(np.mean((first - second) ** 2)) < DUPLICATE)
