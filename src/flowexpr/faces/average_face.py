"""Where exactly a face lies: the average face of scikit-image's 100 photographs, moved until it fits.

A cascade's box shakes by several pixels from one photograph of a person to the next, which costs a classifier more
than most of its own parameters can win. The average face is fitted by inverse compositional Gauss-Newton steps [1]_
over shift, size and turn, its most common variation (light from one side) projected out. Its correlation with the
picture tells faces from what the cascade only takes for one. Then each eye is looked for by itself around where the
average has it: faces are of many proportions, and turned a little to the side.

References
----------
.. [1] Baker & Matthews, "Lucas-Kanade 20 Years On: A Unifying Framework", 2004,
   https://doi.org/10.1023/B:VISI.0000011205.11775.fd
"""

from collections.abc import Iterable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates

from flowexpr.faces.face import Face

__all__ = ["AverageFace", "average_face"]

AXIS, EYE_ROW = 10.9, 8.3
"""Column of the axis of symmetry and row of the eyes in scikit-image's photographs of 25 x 25 pixels."""
EYE = 4.4
"""From the axis to an eye, in the photographs' pixels."""
ROWS, COLUMNS = np.arange(1, 25) - EYE_ROW, np.arange(-10, 11)
"""Grid of the average face, in the photographs' pixels from between the eyes."""
SMOOTH, BACKGROUND = 0.7, 4.0
"""Standard deviations, in grid steps: of the smoothing, and of the light that is taken off."""
MOST_STEPS = 15
CLOSE = 0.1
"""Of the grid's step: a fit that moves less has come to rest; the eyes are looked for more finely afterwards."""
USUAL_SHIFT, USUAL_SIZE, USUAL_TURN = 3.0, 0.2, np.radians(15)
"""How far faces lie from where a cascade sees them: grid steps, logarithm of the size, radians. Where fits from
several starts end in different places, one that lies this far counts `UNUSUAL` less in correlation."""
UNUSUAL = 0.05
MOST_SHIFT, MOST_SIZE, MOST_TURN = 7.0, np.log(1.5), np.radians(25)
"""Beyond which a fit has gone astray."""
EYE_RADIUS, EYE_REACH, EYE_STEP, EYE_PULL = 2, 2.0, 0.5, 0.04
"""Of the window around an eye, how far and how finely it is moved, in grid steps; and what a step away from where the
average has it counts, squared, in correlation."""
_SHIFTS = np.arange(-EYE_REACH, EYE_REACH + EYE_STEP / 2, EYE_STEP)
EYE_SHIFTS = (_SHIFTS + 1j * _SHIFTS[:, None]).ravel()
_WINDOW = np.arange(-EYE_RADIUS, EYE_RADIUS + 1)
EYE_WINDOW = (_WINDOW + 1j * _WINDOW[:, None]).ravel()

LIGHT_ROWS, LIGHT_COLUMNS = (
    gaussian_filter1d(np.eye(len(axis)), BACKGROUND, axis=0, mode="nearest") for axis in (ROWS, COLUMNS)
)
"""The smoothing that gives the light, as matrices: it is done a dozen times for every fit."""

Poses = NDArray[np.complex128]
"""(n, 2): where the point between the eyes lies, x + iy, and what a step of the grid to the right becomes."""


class AverageFace:
    """The average of aligned photographs of faces, ready to be fitted.

    Parameters
    ----------
    photographs : ndarray of shape (n, 25, 25), float
        Grey faces.
    """

    def __init__(self, photographs: NDArray[np.float64]):
        rows, columns = np.meshgrid(ROWS, COLUMNS, indexing="ij")
        self._grid = columns + 1j * rows
        where = [rows + EYE_ROW, columns + AXIS]
        faces = np.stack([map_coordinates(photo, where, order=1, mode="nearest") for photo in photographs])
        faces = np.concatenate([faces, faces[:, :, ::-1]])
        faces = _without_light(gaussian_filter(faces, (0, SMOOTH, SMOOTH)))
        faces = faces / faces.std((1, 2), keepdims=True)
        self._average = _unit(faces.mean(0).reshape(1, -1))[0]
        residuals = faces.reshape(len(faces), -1) - faces.mean(0).ravel()
        self._variation = np.linalg.svd(residuals, full_matrices=False)[2][:1]
        down, right = np.gradient(self._average.reshape(rows.shape))
        # How the average changes with size, turn, and shifts to the right and down.
        change = np.stack([right * columns + down * rows, down * columns - right * rows, right, down], -1)
        change = change.reshape(-1, 4)
        change = change - self._variation.T @ (self._variation @ change)
        self._solve = np.linalg.pinv(change)
        average = self._average.reshape(rows.shape)
        self._eyes = [
            _contrast(_sampled(average, EYE_WINDOW + sign * EYE - (COLUMNS[0] + 1j * ROWS[0]))) for sign in (-1, 1)
        ]

    def fit(
        self,
        image: NDArray[np.uint8],
        face: Face,
        *,
        sizes: Iterable[float] = (0.8, 0.9, 1.0, 1.1),
        turns: Iterable[float] = (-8.0, 0.0, 8.0),
    ) -> Face:
        """Return the face with its eyes, where the average fits best around where it was seen.

        Parameters
        ----------
        image : ndarray of shape (H, W), uint8
            A grey picture.
        face : Face
            About where the face is.
        sizes, turns : iterable of float
            Where to start from: factors of the size, and degrees added to the turn.

        Returns
        -------
        face : Face
            Its score is the correlation with the average face, -1 to 1, and -1 where no fit stays near the start.
        """
        step = face.side / (COLUMNS[-1] - COLUMNS[0])
        small, origin, factor = _around(image, face, step)
        turned = step * factor * np.exp(1j * face.angle)
        begin = _between_eyes(face) * factor - origin
        starts = np.array([(begin, turned * size * np.exp(1j * np.radians(turn))) for size in sizes for turn in turns])
        poses = self._fitted(small, starts)
        scores = self._scores(small, poses)
        change, shift = poses[:, 1] / turned, np.abs(poses[:, 0] - begin) / abs(turned)
        size, turn = np.log(np.maximum(np.abs(change), 1e-9)), np.angle(change)
        scores[(shift > MOST_SHIFT) | (np.abs(turn) > MOST_TURN) | (np.abs(size) > MOST_SIZE)] = -1
        unusual = (shift / USUAL_SHIFT) ** 2 + (size / USUAL_SIZE) ** 2 + (turn / USUAL_TURN) ** 2
        best = int((scores - UNUSUAL * unusual).argmax())
        eyes = [(eye + origin) / factor for eye in self._eyes_of(small, *poses[best])]
        # Coordinates of pixels' centres become those of their edges, as boxes have them.
        return Face.of_eyes([(eye.real + 0.5, eye.imag + 0.5) for eye in eyes], float(scores[best]))

    def _eyes_of(self, image: NDArray[np.float64], middle: complex, right: complex) -> list[complex]:
        """Return where, close to where the average has them, the picture is most like the average's eyes."""
        eyes = []
        for sign, eye in zip((-1, 1), self._eyes, strict=True):
            places = middle + right * (sign * EYE + EYE_SHIFTS)
            seen = _contrast(_sampled(image, places[:, None] + right * EYE_WINDOW))
            like = seen @ eye - EYE_PULL * np.abs(EYE_SHIFTS) ** 2
            best = int(like.argmax())
            eyes.append(complex(places[best] + right * EYE_STEP * _peak(like.reshape(len(_SHIFTS), -1), best)))
        return eyes

    def _fitted(self, image: NDArray[np.float64], poses: Poses) -> Poses:
        for _ in range(MOST_STEPS):
            seen = self._seen(image, poses)
            gain = np.maximum(seen @ self._average, 0.2)
            error = seen / gain[:, None] - self._average
            error = error - (error @ self._variation.T) @ self._variation
            size, turn, right, down = (error @ self._solve.T).T
            scale = 1 / (1 + size + 1j * turn)
            middle, step = poses.T
            poses = np.stack([middle - step * scale * (right + 1j * down), step * scale], 1)
            if max(np.abs(right).max(), np.abs(down).max(), 10 * np.abs(size).max(), 10 * np.abs(turn).max()) < CLOSE:
                break
        return poses

    def _scores(self, image: NDArray[np.float64], poses: Poses) -> NDArray[np.float64]:
        return self._seen(image, poses) @ self._average

    def _seen(self, image: NDArray[np.float64], poses: Poses) -> NDArray[np.float64]:
        """Return what the picture shows on the grid: (n, n_points), without light, of length 1."""
        sampled = _sampled(image, poses[:, 0, None, None] + poses[:, 1, None, None] * self._grid)
        return _unit(_without_light(sampled).reshape(len(poses), -1))


@cache
def average_face() -> AverageFace:
    """Return the average of the faces that come with scikit-image, 100 of Labeled Faces in the Wild.

    Raises
    ------
    ImportError
        If scikit-image is not installed.
    """
    try:
        from skimage.data import lfw_subset
    except ImportError as error:
        raise ImportError(
            "aligning faces needs scikit-image, which is not installed. Install it with: pip install 'flowexpr[faces]'"
        ) from error
    return AverageFace(lfw_subset()[:100])


def _sampled(image: NDArray[np.float64], places: NDArray[np.complex128]) -> NDArray[np.float64]:
    return map_coordinates(image, [places.imag, places.real], order=1, mode="nearest")


def _peak(values: NDArray[np.float64], best: int) -> complex:
    """Return how far beside the best of a grid, in its steps, a parabola through the neighbours has its peak."""
    row, column = np.unravel_index(best, values.shape)
    away = []
    for line, at in ((values[row], int(column)), (values[:, column], int(row))):
        if not 0 < at < len(line) - 1:
            away.append(0.0)
            continue
        before, here, after = line[at - 1 : at + 2]
        away.append(0.5 * (after - before) / (2 * here - before - after + 1e-12))
    return complex(*away)


def _contrast(windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return windows, (..., n_points), of mean 0 and length 1."""
    windows = windows - windows.mean(-1, keepdims=True)
    return windows / (np.linalg.norm(windows, axis=-1, keepdims=True) + 1e-9)


def _without_light(images: NDArray[np.float64]) -> NDArray[np.float64]:
    images = images - LIGHT_ROWS @ images @ LIGHT_COLUMNS.T
    return images - images.mean((1, 2), keepdims=True)


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / (np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None] + 1e-9)


def _between_eyes(face: Face) -> complex:
    """Return the middle of the eyes, known or as it lies in a face's square."""
    if face.eyes is not None:
        (x0, y0), (x1, y1) = face.eyes
        return complex((x0 + x1) / 2 - 0.5, (y0 + y1) / 2 - 0.5)
    return complex(face.centre[0] - 0.5, face.box[1] + 0.3 * face.side - 0.5)


def _around(image: NDArray[np.uint8], face: Face, step: float) -> tuple[NDArray[np.float64], complex, float]:
    """Return the neighbourhood of the face about as coarse as the grid, where it begins there, and the factor."""
    room = 0.8 * face.side
    height, width = image.shape
    left, top = max(0, int(face.box[0] - room)), max(0, int(face.box[1] - room))
    right, bottom = min(width, int(face.box[2] + room) + 1), min(height, int(face.box[3] + room) + 1)
    left, top = min(left, width - 1), min(top, height - 1)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    factor = 1.2 / max(step, 1e-3)
    size = (max(1, round((right - left) * factor)), max(1, round((bottom - top) * factor)))
    part = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
    small = np.asarray(part.resize(size, Image.Resampling.BILINEAR), dtype=float)
    # The centre of pixel (0, 0) of the small picture lies at (factor * (left + 0.5) - 0.5) of the large one's scale.
    shift = 0.5 - 0.5 * factor
    return small, complex(left * factor - shift, top * factor - shift), factor
