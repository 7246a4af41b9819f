"""Finding faces in a picture: scikit-image's cascade, OpenCV's cascades or YuNet, or a function of one's own.

A detector is any callable ``image -> boxes, landmarks``: the image is uint8, (H, W) or (H, W, 3); boxes are
(n, 4) as left, top, right, bottom in pixels; landmarks are (n, k, 2), the two eyes first, or None. It may return
scores (n,) as a third. A method ``upright``, if it has one, is called instead while a face is followed in a video; it
may be quicker. All of them work offline: the weights come with the libraries, or with a file of one's own.
"""

import math
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flowexpr.faces.average_face import average_face
from flowexpr.faces.face import Face

__all__ = ["DETECTORS", "Detector", "detect_with", "find_faces", "make_detector"]

Detector = Callable[[NDArray[np.uint8]], Any]

SMALLEST_SHARE = 0.15
"""Smallest face that is looked for, as a share of the picture's shorter side."""
WINDOW = 24
"""Side of the cascade's window, pixels."""
MOST_ENLARGED = 4.0
NEIGHBOURS = 4
"""Overlapping hits that make a face."""
LEAST_LIKE, LEAST_LIKE_TILTED, LEAST_LIKE_SMALL = 0.42, 0.45, 0.64
"""Smallest correlation with the average face that makes a hit of the cascade a face: in the picture as it comes, in a
turned copy, and of a small one. There are more places for small ones, and so more to be wrong in."""
SMALL_SHARE = 0.18
SURE_NEIGHBOURS, LARGE_SHARE = 12, 0.3
"""Overlapping hits of a closer look that make a face of what is less like the average one, as glasses, a beard or an
open mouth are, if it is as large as this share of the picture's shorter side."""
USUAL_PLACE, USUAL_SIZE = (-0.04, 0.05), 0.89
"""Where the average face lies in the cascade's square, in sides from its middle, and its own side: the medians of those
that fit. It is taken where no fit can be trusted."""
MOST_TILT = 40.0
"""Largest angle of a face, degrees."""
SURE = 0.6
"""Correlation with the average face from which on a face is not looked for in turned copies of the picture."""
CLEARLY = 0.1
"""By which a face in a turned copy has to be more like the average face than one found there in the picture itself."""
TILTS = (-18.0, 18.0, -36.0, 36.0)
"""Degrees by which the picture is turned where no face is found in it as it comes, or none that is sure."""


def make_detector(which: str | os.PathLike[str] | Detector) -> Detector:
    """Return the detector of this name.

    Parameters
    ----------
    which : str, path-like or callable
        "cascade" (scikit-image's local binary patterns, extra ``[faces]``); "haar" (OpenCV 4's Haar cascades with
        eyes, extra ``[opencv]``); the path of a YuNet model (``.onnx``); "none" for pictures that are face crops
        already; or a callable as the module describes it.

    Returns
    -------
    detector : callable
        As the module describes it.

    Raises
    ------
    ValueError
        If there is no such detector.
    ImportError
        If its library is not installed.
    """
    if callable(which):
        return which
    name = str(which)
    if name.lower().endswith(".onnx"):
        return _yunet(name)
    if name not in DETECTORS:
        raise ValueError(
            f"detector={name!r} was expected to be one of {', '.join(DETECTORS)}, the path of a YuNet .onnx file, or "
            "a callable image -> boxes, landmarks."
        )
    return DETECTORS[name]()


def detect_with(detector: Detector, image: NDArray[np.uint8]) -> list[Face]:
    """Run a detector and return its faces, the surest first.

    Parameters
    ----------
    detector : callable
        As the module describes it.
    image : ndarray of shape (H, W) or (H, W, 3), uint8
        The picture.

    Returns
    -------
    faces : list of Face
        Empty where none was found.

    Raises
    ------
    ValueError
        If the detector returns something else than boxes, landmarks and perhaps scores.
    """
    found = detector(image)
    if not isinstance(found, tuple) or len(found) not in (2, 3):
        raise ValueError(f"a detector was expected to return boxes, landmarks[, scores], but returned {found!r}.")
    boxes = np.asarray(found[0], dtype=float)
    if boxes.size == 0:
        return []
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not (boxes[:, :2] < boxes[:, 2:]).all():
        raise ValueError(
            "a detector was expected to return boxes of shape (n, 4) as left, top, right, bottom, but returned "
            f"{found[0]!r}."
        )
    for name, given in zip(("landmarks", "scores"), found[1:], strict=False):
        if given is not None and len(given) != len(boxes):
            raise ValueError(f"a detector was expected to return {name} for {len(boxes)} boxes, but gave {len(given)}.")
    scores = np.full(len(boxes), math.nan) if len(found) == 2 or found[2] is None else np.asarray(found[2], float)
    landmarks = [None] * len(boxes) if found[1] is None else list(found[1])
    faces = [_face(*row) for row in zip(boxes, landmarks, scores, strict=True)]
    return sorted(faces, key=lambda face: -(face.score if face.score == face.score else 0.0))


def _face(box: NDArray[np.float64], landmarks: Any, score: float) -> Face:
    left, top, right, bottom = map(float, box)
    if landmarks is None or len(landmarks) < 2 or not np.isfinite(np.asarray(landmarks, float)[:2]).all():
        return Face((left, top, right, bottom), None, float(score))
    first, second = sorted((float(x), float(y)) for x, y in np.asarray(landmarks, float)[:2])
    return Face((left, top, right, bottom), (first, second), float(score))


def find_faces(image: NDArray[np.uint8] | Image.Image, *, tilted: bool = True) -> list[Face]:
    """Find faces with scikit-image's cascade, and align each with the average face.

    Parameters
    ----------
    image : ndarray of shape (H, W) or (H, W, 3), uint8, or PIL.Image.Image
        The picture.
    tilted : bool, default=True
        Look at turned copies too where nothing sure is found in the picture as it comes.

    Returns
    -------
    faces : list of Face
        With eyes, but where little is like the average face; the score is the correlation with it. The surest is first.
    """
    grey = _grey(np.asarray(image))
    upright = faces = _upright(grey)
    for pair in (TILTS[:2], TILTS[2:]) if tilted else ():
        if any(face.score >= SURE for face in faces):
            break
        turned = [face for degrees in pair for face in _turned(grey, degrees)]
        faces = _distinct([*faces, *(face for face in turned if not _contradicts(face, upright))])
    return faces


def _contradicts(turned: Face, upright: list[Face]) -> bool:
    """Tell whether a face of a turned copy lies where the picture itself shows one, without being clearly surer."""
    return any(_same_place(turned, other) and turned.score < other.score + CLEARLY for other in upright)


def _upright(grey: NDArray[np.uint8]) -> list[Face]:
    factor = min(MOST_ENLARGED, WINDOW / (SMALLEST_SHARE * min(grey.shape)))
    small = _resized(grey, factor)
    if min(small.shape) < WINDOW:
        return []
    shorter, faces = min(grey.shape), []
    for hit in _hits(small, factor=1.15, smallest=WINDOW, largest=min(small.shape)):
        close = _close_up(small, hit)
        if not _is_seen(close):
            continue
        seen = hit.moved(0, 0, 1 / factor)
        face = average_face().fit(grey, seen)
        if face.score >= (LEAST_LIKE if face.side >= SMALL_SHARE * shorter else LEAST_LIKE_SMALL):
            faces.append(face)
        elif seen.side >= LARGE_SHARE * shorter and _is_seen(close, SURE_NEIGHBOURS):
            faces.append(_in_usual_place(seen, face.score))
    return _distinct(faces)


def _in_usual_place(seen: Face, score: float) -> Face:
    """Return the face that the cascade saw, where the average face mostly lies there, its eyes unknown."""
    x, y = (middle + shift * seen.side for middle, shift in zip(seen.centre, USUAL_PLACE, strict=True))
    half = USUAL_SIZE * seen.side / 2
    return Face((x - half, y - half, x + half, y + half), None, max(score, 0.0))


def _close_up(image: NDArray[np.uint8], hit: Face) -> NDArray[np.uint8]:
    """Return what lies around a hit, of which the cascade sees more in another size."""
    room = round(0.35 * hit.side)
    left, top, right, bottom = (round(value) for value in hit.box)
    part = image[max(0, top - room) : bottom + room, max(0, left - room) : right + room]
    return _resized(np.ascontiguousarray(part), 1.5 * WINDOW / hit.side)


def _is_seen(close: NDArray[np.uint8], neighbours: int = NEIGHBOURS) -> bool:
    """Tell whether the cascade finds a face in a close-up again: most things that are none it does not."""
    if min(close.shape) <= 26:
        return False
    return bool(_hits(close, factor=1.05, smallest=26, largest=50, neighbours=neighbours))


def _hits(
    image: NDArray[np.uint8], *, factor: float, smallest: int, largest: int, neighbours: int = NEIGHBOURS
) -> list[Face]:
    found = _cascade().detect_multi_scale(
        img=image,
        scale_factor=factor,
        step_ratio=1,
        min_size=(smallest, smallest),
        max_size=(largest, largest),
        min_neighbor_number=neighbours,
    )
    return [Face((hit["c"], hit["r"], hit["c"] + hit["width"], hit["r"] + hit["height"])) for hit in found]


def _turned(grey: NDArray[np.uint8], degrees: float) -> list[Face]:
    """Find faces in the picture turned counter-clockwise, and return them as they lie in the picture."""
    turned = Image.fromarray(grey).rotate(degrees, Image.Resampling.BILINEAR, fillcolor=int(np.median(grey)))
    middle = complex(grey.shape[1] / 2, grey.shape[0] / 2)
    faces = []
    for face in _upright(np.asarray(turned)):
        if face.eyes is None or face.score < LEAST_LIKE_TILTED:
            continue
        back = [(complex(*eye) - middle) * np.exp(1j * np.radians(degrees)) + middle for eye in face.eyes]
        faces.append(Face.of_eyes([(eye.real, eye.imag) for eye in back], face.score))
    return [face for face in faces if abs(np.degrees(face.angle)) <= MOST_TILT]


def _distinct(faces: list[Face]) -> list[Face]:
    """Leave out faces that were found twice."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if not any(_same_place(face, other) for other in kept):
            kept.append(face)
    return kept


def _same_place(face: Face, other: Face) -> bool:
    return math.dist(face.centre, other.centre) <= 0.5 * other.side


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(image) if image.ndim == 2 else np.asarray(Image.fromarray(image).convert("L"))


def _resized(image: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    size = (max(1, round(image.shape[1] * factor)), max(1, round(image.shape[0] * factor)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0))


@cache
def _cascade() -> Any:
    try:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade
    except ImportError as error:
        raise ImportError(
            "finding faces needs scikit-image, which is not installed. Install it with: pip install 'flowexpr[faces]'"
        ) from error
    return Cascade(lbp_frontal_face_cascade_filename())


class _CascadeDetector:
    """scikit-image's cascade as a detector; `upright` is the quicker one, which looks at no turned copies."""

    def __init__(self) -> None:
        _cascade()

    def __call__(self, image: NDArray[np.uint8]) -> Any:
        return self._found(image, tilted=True)

    def upright(self, image: NDArray[np.uint8]) -> Any:
        return self._found(image, tilted=False)

    @staticmethod
    def _found(image: NDArray[np.uint8], *, tilted: bool) -> Any:
        faces = find_faces(image, tilted=tilted)
        return [face.box for face in faces], [face.eyes for face in faces], [face.score for face in faces]


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            "this detector needs OpenCV, which is not installed. Install it with: pip install 'flowexpr[opencv]'"
        ) from error
    return cv2


def _haar() -> Detector:
    cv2 = _opencv()
    folder = Path(getattr(getattr(cv2, "data", None), "haarcascades", ""))
    names = ("haarcascade_frontalface_alt2.xml", "haarcascade_eye.xml")
    if not all((folder / name).is_file() for name in names):
        raise ImportError(
            f"OpenCV {cv2.__version__} ships no Haar cascades; version 4 does: pip install 'flowexpr[opencv]'"
        )
    frontal, eye = (cv2.CascadeClassifier(str(folder / name)) for name in names)

    def detect(image: NDArray[np.uint8]) -> Any:
        # OpenCV's cascades see nothing in a dark picture.
        grey = cv2.normalize(_grey(image), None, 0, 255, cv2.NORM_MINMAX)
        smallest = max(WINDOW, round(SMALLEST_SHARE * min(grey.shape)))
        for degrees in (0.0, *TILTS):
            turn = cv2.getRotationMatrix2D((grey.shape[1] / 2, grey.shape[0] / 2), degrees, 1.0)
            turned = cv2.warpAffine(grey, turn, grey.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
            hits, _, weights = frontal.detectMultiScale3(
                turned, 1.1, 4, minSize=(smallest, smallest), outputRejectLevels=True
            )
            if len(hits):
                break
        back = cv2.invertAffineTransform(turn)
        boxes, landmarks = [], []
        for left, top, width, height in hits:
            middle = back @ [left + width / 2, top + height / 2, 1]
            boxes.append([*(middle - width / 2), *(middle + width / 2)])
            eyes = _eyes(eye, turned[top : top + height, left : left + width])
            landmarks.append(eyes and [back @ [left + x, top + y, 1] for x, y in eyes])
        return boxes, landmarks, np.ravel(weights)

    return detect


def _eyes(cascade: Any, face: NDArray[np.uint8]) -> list[tuple[float, float]] | None:
    """Return the surest eye on each side of the upper half of a face, or None where one is missing."""
    side = face.shape[1]
    upper = np.ascontiguousarray(face[: round(0.6 * side)])
    hits, _, weights = cascade.detectMultiScale3(upper, 1.05, 3, minSize=(side // 8,) * 2, outputRejectLevels=True)
    surest = sorted(zip(np.ravel(weights), hits, strict=True), key=lambda pair: -pair[0])
    middles = [(x + width / 2, y + height / 2) for _, (x, y, width, height) in surest]
    left = next((eye for eye in middles if 0.15 * side < eye[0] < 0.45 * side), None)
    right = next((eye for eye in middles if 0.55 * side < eye[0] < 0.85 * side), None)
    level = left is not None and right is not None and abs(left[1] - right[1]) < 0.15 * side
    return [left, right] if level and left is not None and right is not None else None


def _yunet(path: str) -> Detector:
    cv2 = _opencv()
    if not hasattr(cv2, "FaceDetectorYN"):
        raise ImportError(f"OpenCV {cv2.__version__} has no FaceDetectorYN: pip install 'flowexpr[opencv]'")
    if not Path(path).is_file():
        raise FileNotFoundError(f"detector={path!r} was expected to be a YuNet file, but there is none.")
    try:
        network = cv2.FaceDetectorYN.create(path, "", (320, 320))
    except cv2.error as error:
        reason = str(error).strip("> \n").splitlines()[-1].lstrip("> ")  # OpenCV quotes as mails do
        raise ValueError(
            f"detector={path!r} was expected to be a YuNet model (face_detection_yunet_*.onnx), but OpenCV cannot read "
            f"it as one ({reason})."
        ) from error

    def detect(image: NDArray[np.uint8]) -> Any:
        colour = np.repeat(image[..., None], 3, -1) if image.ndim == 2 else image[..., ::-1]
        network.setInputSize((image.shape[1], image.shape[0]))
        _, rows = network.detect(np.ascontiguousarray(colour))
        rows = np.zeros((0, 15)) if rows is None else np.asarray(rows, dtype=float)
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        return boxes, rows[:, 4:8].reshape(-1, 2, 2), rows[:, 14]

    return detect


def _none() -> Detector:
    def detect(image: NDArray[np.uint8]) -> Any:
        height, width = image.shape[:2]
        return [[0, 0, width, height]], None, [1.0]

    return detect


DETECTORS: dict[str, Callable[[], Detector]] = {"cascade": _CascadeDetector, "haar": _haar, "none": _none}
