"""Which pixels are brows, eyes, nose, mouth, cheeks and chin: from landmarks, or from where the average face has them.

One map of a face serves every image. It is drawn in the face's own frame: the origin lies between the eyes, x runs to
the right, y down to the mouth, and the unit is the distance from the eyes to the mouth.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d

__all__ = ["ELSEWHERE", "REGIONS", "FaceFrame", "frame_of_average_face", "frames_of_landmarks", "region_labels"]

REGIONS = ("brows", "eyes", "nose", "mouth", "cheeks", "chin")
ELSEWHERE = "elsewhere"
"""Name of all other pixels: forehead, hair, ears, neck, background."""

LEAST_LENGTH = 0.05
"""Of the way from the eyes to the mouth, as a share of the image's height; less is no face in pixels."""

# In the face's frame, by |x|: (region, inner x, outer x, top y, bottom y); the first box that holds a pixel has it.
_BOXES = (
    ("brows", 0.0, 0.98, -0.68, -0.20),
    ("eyes", 0.13, 0.98, -0.20, 0.27),
    ("nose", 0.0, 0.34, -0.20, 0.72),
    ("mouth", 0.0, 0.66, 0.72, 1.30),
    ("cheeks", 0.0, 1.08, 0.20, 1.30),
    ("chin", 0.0, 0.85, 1.30, 1.78),
)

EYE_ROWS = (0.30, 0.58)
"""Where the eyes of an upright, cropped face are looked for, as shares of the height."""

MOUTH_BELOW_EYES = (0.25, 0.42)
"""How far below the eyes the mouth is looked for, as shares of the height."""


class FaceFrame(NamedTuple):
    """Where a face is, in pixels.

    Attributes
    ----------
    origin : ndarray of shape (2,)
        x and y between the eyes.
    down : ndarray of shape (2,)
        The vector from there to the mouth.
    """

    origin: NDArray[np.float64]
    down: NDArray[np.float64]


def frames_of_landmarks(landmarks: ArrayLike, n: int, shape: tuple[int, int]) -> list[FaceFrame]:
    """Return the frames of n faces from their landmarks.

    Parameters
    ----------
    landmarks : array-like of shape (n, 5, 2) or (n, 68, 2)
        x and y in pixels. Five points are the eyes, the tip of the nose and the corners of the mouth; 68 are those of
        iBUG 300-W.
    n : int
        Number of faces.
    shape : tuple (height, width)
        Of the images, pixels.

    Returns
    -------
    frames : list of FaceFrame
        One for every face.

    Raises
    ------
    ValueError
        If there are other points, not one set a face, or they lie on no face in the image.
    """
    height, width = shape
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape not in ((n, 5, 2), (n, 68, 2)) or not np.isfinite(points).all():
        raise ValueError(
            f"landmarks were expected to be finite, of shape ({n}, 5, 2) or ({n}, 68, 2), but have shape "
            f"{points.shape}. Pass x and y in pixels of both eyes, nose and mouth corners, or iBUG's 68 points."
        )
    if points.shape[1] == 5:
        eyes, mouth = points[:, :2].mean(1), points[:, 3:].mean(1)
    else:
        eyes, mouth = points[:, 36:48].mean(1), points[:, [48, 54]].mean(1)
    down = mouth - eyes
    length = np.linalg.norm(down, axis=1)
    within = ((eyes >= 0) & (eyes <= [width, height])).all(1)
    wrong = np.flatnonzero(~within | (length < LEAST_LENGTH * height) | (length > height))
    if len(wrong):
        i = int(wrong[0])
        raise ValueError(
            f"landmarks[{i}] were expected to lie on a face in an image of {width} x {height} pixels, but its eyes are "
            f"at {eyes[i].round(1).tolist()} and its mouth at {mouth[i].round(1).tolist()}. Pass x and y in pixels of "
            "the image as it is explained."
        )
    return [FaceFrame(origin, way) for origin, way in zip(eyes, down, strict=True)]


def frame_of_average_face(image: NDArray[np.floating]) -> FaceFrame:
    """Find eyes and mouth in the average of upright, cropped faces.

    Eyes are the rows where both sides are darkest against the bridge of the nose between them; the mouth is where the
    middle is darkest against the cheeks beside it.

    Parameters
    ----------
    image : ndarray of shape (H, W)
        The average face, grey.

    Returns
    -------
    frame : FaceFrame
        Where it is.
    """
    height, width = image.shape
    middle, eyes = _mean_of_columns(image, 0, 0.06), _mean_of_columns(image, 0.1, 0.26)
    mouth, cheeks = _mean_of_columns(image, 0, 0.1), _mean_of_columns(image, 0.18, 0.3)
    rows = (np.arange(height) + 0.5) / height
    eye_row = _peak(middle - eyes, rows, *EYE_ROWS)
    mouth_row = _peak(cheeks - mouth, rows, *(eye_row + below for below in MOUTH_BELOW_EYES))
    origin = np.array([(width - 1) / 2, eye_row * height - 0.5])
    return FaceFrame(origin, np.array([0.0, (mouth_row - eye_row) * height]))


def _mean_of_columns(image: NDArray[np.floating], low: float, high: float) -> NDArray[np.floating]:
    """Return the mean (H,) of the columns between two distances from the middle, as shares of the width.

    Small images may have none there; it is then the nearest ones.
    """
    width = image.shape[1]
    distance = np.abs(np.arange(width) - (width - 1) / 2) / width
    outside = np.maximum(np.maximum(low - distance, distance - high), 0.0)
    return image[:, outside <= outside.min()].mean(1)


def _peak(profile: NDArray[np.floating], rows: NDArray[np.float64], low: float, high: float) -> float:
    """Return the row of the highest local maximum between two rows, their middle where there is none."""
    smooth = gaussian_filter1d(profile, 0.02 * len(rows), mode="nearest")
    inside = (rows[1:-1] >= low) & (rows[1:-1] <= high)
    peaks = 1 + np.flatnonzero(inside & (smooth[1:-1] >= smooth[:-2]) & (smooth[1:-1] > smooth[2:]))
    return float(rows[peaks[smooth[peaks].argmax()]]) if len(peaks) else (low + high) / 2


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
