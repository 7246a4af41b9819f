"""One person's face through a video: found on key frames, followed between them, smoothed, every jump told.

Between key frames the average face is fitted from where the face was last, so that the box follows without drifting
away from the face; where it fits no more, or faces are looked for by another detector and scikit-image is missing,
the frame becomes a key frame.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flowexpr.exceptions import UnreadableImageError
from flowexpr.faces.average_face import average_face
from flowexpr.faces.detectors import Detector, detect_with
from flowexpr.faces.face import Face
from flowexpr.faces.video import VideoFrame

__all__ = ["CHOICES", "TrackedFrame", "choose_face", "track_face"]

CHOICES = ("nearest", "largest", "central")
"""Which of several faces is the person: nearest to where it was last (largest at first), largest, most central."""
KEY_SECONDS = 2.0
"""Seconds between key frames."""
STILL_LIKE = 0.25
"""Least correlation with the average face at which a face is still followed."""
JUMP = 0.35
"""A move between frames, as a share of the face's side, that is told as a jump."""
SCALE_JUMP = 1.35
RADIUS = 2
"""Frames before and after one that its smoothed box may use."""
HALVING = 0.04
"""Seconds over which the weight of a neighbour in a smoothed box halves."""


@dataclass(frozen=True)
class TrackedFrame:
    """A frame, and the face in it.

    Attributes
    ----------
    frame : VideoFrame
        The frame.
    face : Face or None
        Where it is, smoothed; None where there is none.
    jumped : bool
        Whether the face lies so far from where it was last that it may be another person's.
    n_faces : int
        How many faces there were on the key frame that the face was followed from.
    """

    frame: VideoFrame
    face: Face | None
    jumped: bool
    n_faces: int


def choose_face(faces: list[Face], choice: str, size: tuple[int, int], last: Face | None = None) -> Face | None:
    """Return the person's face among those found.

    Parameters
    ----------
    faces : list of Face
        Those found.
    choice : {"nearest", "largest", "central"}
        How to choose.
    size : tuple (height, width)
        Of the picture.
    last : Face or None, default=None
        Where the person was last.

    Returns
    -------
    face : Face or None
        None where none was found.
    """
    if not faces:
        return None
    if choice == "central":
        return min(faces, key=lambda face: math.dist(face.centre, (size[1] / 2, size[0] / 2)))
    if choice == "nearest" and last is not None:
        centre = last.centre
        return min(faces, key=lambda face: math.dist(face.centre, centre))
    return max(faces, key=lambda face: face.side)


def track_face(frames: Iterable[VideoFrame], detector: Detector, choice: str = "nearest") -> Iterator[TrackedFrame]:
    """Follow one person's face.

    Parameters
    ----------
    frames : iterable of VideoFrame
        In order of time.
    detector : callable
        What finds faces on key frames (see `flowexpr.faces.detectors`).
    choice : {"nearest", "largest", "central"}, default="nearest"
        Which of several faces is the person.

    Yields
    ------
    tracked : TrackedFrame
        One for every frame, two frames late.
    """
    return _smoothed(_followed(frames, detector, choice))


def _followed(frames: Iterable[VideoFrame], detector: Detector, choice: str) -> Iterator[TrackedFrame]:
    last: Face | None = None  # where the person was seen last, however long ago
    seen = False  # on the frame before
    next_key, n_faces = -math.inf, 0
    for frame in frames:
        grey = frame.grey()
        face = _follow(grey, last) if seen and last is not None and frame.time < next_key else None
        if face is None:
            next_key = frame.time + KEY_SECONDS
            # A face that is followed needs no search in turned copies: it is there, and only checked.
            found = detect_with(getattr(detector, "upright", detector) if seen else detector, grey)
            n_faces = len(found)
            face = choose_face(found, choice, grey.shape, last)
            # Following knows the eyes, which a detector may not.
            if seen and last is not None and (face is None or (face.eyes is None and not _is_jump(last, face))):
                face = _follow(grey, last) or face
        jumped = face is not None and last is not None and _is_jump(last, face)
        yield TrackedFrame(frame, face, jumped, n_faces)
        seen = face is not None
        last = face or last


def _follow(grey: NDArray[np.uint8], last: Face) -> Face | None:
    """Return the face near where it was last, or None where nothing like one is."""
    if last.eyes is None:
        return None
    try:
        fitter = average_face()
    except ImportError:
        return None
    face = fitter.fit(grey, last, sizes=(1.0,), turns=(0.0,))
    if face.score < STILL_LIKE:
        face = fitter.fit(grey, last, sizes=(0.9, 1.0, 1.1))
    return face if face.score >= STILL_LIKE and not _is_jump(last, face) else None


def _is_jump(before: Face, after: Face) -> bool:
    size = after.side / before.side
    far = bool(math.dist(before.centre, after.centre) > JUMP * before.side)
    return far or not bool(1 / SCALE_JUMP < size < SCALE_JUMP)


def _smoothed(tracked: Iterable[TrackedFrame]) -> Iterator[TrackedFrame]:
    """Average every face with its neighbours, the nearer in time the more, never across a jump or a gap."""
    length = 2 * RADIUS + 1
    window: deque[TrackedFrame | None] = deque([None] * length, maxlen=length)
    for new in _then(tracked, RADIUS):
        window.append(new)
        middle = window[RADIUS]
        if middle is not None:
            yield replace(middle, face=_average(list(window))) if middle.face is not None else middle


def _then(tracked: Iterable[TrackedFrame], n: int) -> Iterator[TrackedFrame | None]:
    """Add n times None, so that the last frames come out of the window; also of a video that breaks off."""
    broken = None
    try:
        yield from tracked
    except UnreadableImageError as error:
        broken = error
    yield from [None] * n
    if broken is not None:
        raise broken


def _average(window: list[TrackedFrame | None]) -> Face | None:
    middle = window[RADIUS]
    if middle is None or middle.face is None:
        return None
    used = [(1.0, middle.face)]
    for direction in (-1, 1):
        for distance in range(1, RADIUS + 1):
            neighbour = window[RADIUS + direction * distance]
            # A jump stands on the first frame after it.
            edge = window[RADIUS + direction * distance + (1 if direction < 0 else 0)]
            if neighbour is None or neighbour.face is None or edge is None or edge.jumped:
                break
            if (neighbour.face.eyes is None) != (middle.face.eyes is None):
                break
            apart = abs(neighbour.frame.time - middle.frame.time)
            used.append((0.5 ** (apart / HALVING), neighbour.face))
    weights = np.array([weight for weight, _ in used])
    weights /= weights.sum()
    if middle.face.eyes is not None:
        eyes = np.tensordot(weights, np.array([face.eyes for _, face in used]), 1)
        return Face.of_eyes(eyes.tolist(), middle.face.score)
    box = weights @ np.array([face.box for _, face in used])
    return Face((box[0], box[1], box[2], box[3]), None, middle.face.score)
