"""Which pixels are brows, eyes, nose, mouth, cheeks and chin of a face that lies where its frame says.

One map of a face serves every image. It is drawn in the face's own frame: the origin lies between the eyes, x runs to
the right, y down to the mouth, and the unit is the distance from the eyes to the mouth.
"""

import numpy as np
from numpy.typing import NDArray

from flowexpr.face_frame import FaceFrame

__all__ = ["ELSEWHERE", "REGIONS", "region_labels"]

REGIONS = ("brows", "eyes", "nose", "mouth", "cheeks", "chin")
ELSEWHERE = "elsewhere"
"""Name of all other pixels: forehead, hair, ears, neck, background."""


# In the face's frame, by |x|: (region, inner x, outer x, top y, bottom y); the first box that holds a pixel has it.
_BOXES = (
    ("brows", 0.0, 0.98, -0.68, -0.20),
    ("eyes", 0.13, 0.98, -0.20, 0.27),
    ("nose", 0.0, 0.34, -0.20, 0.72),
    ("mouth", 0.0, 0.66, 0.72, 1.30),
    ("cheeks", 0.0, 1.08, 0.20, 1.30),
    ("chin", 0.0, 0.85, 1.30, 1.78),
)


def region_labels(shape: tuple[int, int], frame: FaceFrame) -> NDArray[np.int64]:
    """Return the region of every pixel.

    Parameters
    ----------
    shape : tuple (H, W)
        Size of the image.
    frame : FaceFrame
        Where the face is.

    Returns
    -------
    labels : ndarray of shape (H, W), int
        Index into ``REGIONS``; ``len(REGIONS)`` is elsewhere.
    """
    y, x = np.mgrid[: shape[0], : shape[1]]
    offset = np.stack([x, y], -1) - frame.origin
    unit = float(np.hypot(*frame.down))
    down = offset @ frame.down / unit**2
    across = np.abs(offset @ np.array([frame.down[1], -frame.down[0]])) / unit**2
    labels = np.full(shape, len(REGIONS))
    for name, inner, outer, top, bottom in reversed(_BOXES):
        labels[(across >= inner) & (across < outer) & (down >= top) & (down < bottom)] = REGIONS.index(name)
    return labels
