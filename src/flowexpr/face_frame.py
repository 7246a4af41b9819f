"""Where a face lies in an image, eyes to mouth: by landmarks, or found on the average of upright, cropped faces."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

__all__ = ["FaceFrame", "frame_of_average_face", "frames_of_landmarks"]


LEAST_LENGTH = 0.05
"""Of the way from the eyes to the mouth, as a share of the image's height; less is no face in pixels."""

# What an upright face shows, in another frame: the origin lies between the eyes, and x is in distances between them.
# (x, y, x and y of what is brighter, weight); y is in the same unit, and from the nose on in ways from eyes to mouth.
_EYES_AND_BROWS = (
    (0.5, 0.0, 0.0, 0.0, 1.0),  # eyes, and the bridge of the nose between them
    (0.5, 0.0, 0.5, 0.5, 1.0),  # and the cheeks below them
    (0.5, -0.38, 0.0, -0.45, 0.5),  # brows, and the forehead
)

_NOSE_AND_MOUTH = (
    (0.0, 0.61, 0.38, 0.61, 1.0),  # nostrils, and the cheeks beside them
    (0.0, 0.61, 0.0, 0.3, 0.5),  # and the ridge of the nose
    (0.0, 1.0, 0.52, 1.0, 1.0),  # the mouth, and the cheeks beside it
    (0.0, 1.0, 0.0, 0.82, 0.5),  # and the upper lip
    (0.0, 1.0, 0.0, 1.35, 0.5),  # and the chin
)

EYE_ROWS = (0.18, 0.60)
"""Where the eyes of an upright, cropped face are looked for, as shares of the height."""

EYE_DISTANCES = (0.26, 0.52)
"""Between the eyes, as shares of the width; of one that is at most `WIDEST` times the height."""

WIDEST = 4 / 3
"""A wider image shows more than a face."""

TYPICAL_EYES, TYPICAL_WAY = 0.4, 0.36
"""Row of the eyes and way from there to the mouth, as shares of the height, in an image without contrast."""

EYES_TO_MOUTH = (0.9, 1.0, 1.1, 1.2)
"""As shares of the distance between the eyes."""

N_DISTANCES = 14
"""So many of them are tried."""

LOWEST_MOUTH = 0.95
"""Share of the height."""

SLIGHT = 1e-9
"""Contrast that rounding makes, as a share of the largest value."""

BLUR = 0.1
"""Standard deviation of the smoothing before brightness is compared, as a share of the distance between the eyes."""


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

    They are where the image, made symmetric, is most like a face: eyes, brows, nostrils and mouth darker than what is
    beside, above and below them; at a typical place where the image has no contrast at all.

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
    symmetric = image + image[:, ::-1]
    eyes = np.arange(EYE_ROWS[0] * height, EYE_ROWS[1] * height, 0.5)
    slight = SLIGHT * float(np.abs(image).max())
    best = (slight, TYPICAL_EYES * height, TYPICAL_WAY * height)  # how like a face, row of the eyes, way to the mouth
    for distance in np.linspace(*EYE_DISTANCES, N_DISTANCES) * min(width, WIDEST * height):
        smooth = gaussian_filter(symmetric, BLUR * distance)
        upper = _contrast(smooth, eyes, distance, distance, _EYES_AND_BROWS)
        for way in np.multiply(EYES_TO_MOUTH, distance):
            like = upper + _contrast(smooth, eyes, distance, way, _NOSE_AND_MOUTH)
            like[eyes + way > LOWEST_MOUTH * height] = -np.inf
            place = int(like.argmax())
            best = max(best, (float(like[place]), float(eyes[place]), float(way)))
    return FaceFrame(np.array([(width - 1) / 2, best[1]]), np.array([0.0, best[2]]))


def _contrast(
    smooth: NDArray[np.floating],
    eyes: NDArray[np.float64],
    distance: float,
    down: float,
    pairs: tuple[tuple[float, ...], ...],
) -> NDArray[np.float64]:
    """Return by how much darker places of a face are than others, summed, for every row of its eyes."""

    def brightness(x: float, y: float) -> NDArray[np.float64]:
        column = np.full_like(eyes, (smooth.shape[1] - 1) / 2 + x * distance)
        return map_coordinates(smooth, [eyes + y * down, column], order=1, mode="nearest", output=np.float64)

    found = [weight * (brightness(*brighter) - brightness(x, y)) for x, y, *brighter, weight in pairs]
    return np.sum(found, axis=0)
