"""What ``flowexpr predict`` looks at: every image and every frame of every video, prepared as for training."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flowexpr.ahead import ahead
from flowexpr.exceptions import UnreadableImageError
from flowexpr.faces.detectors import Detector, detect_with, make_detector
from flowexpr.faces.face import NO_FACE, Face
from flowexpr.faces.preparation import FacePreparation
from flowexpr.faces.reading import read_image
from flowexpr.faces.tracking import choose_face, track_face
from flowexpr.faces.video import is_video, read_frames, require_av

__all__ = ["Picture", "read_pictures"]


@dataclass(frozen=True)
class Picture:
    """An image, or a frame of a video.

    Attributes
    ----------
    path : str
        The file.
    frame, time : int, float or None
        Number of the frame from 0, and seconds from the start of the video, as its file gives it; None for an image.
    face : Face or None
        Where the face is; None where none was looked for or found.
    pixels : ndarray of shape (H, W, C), uint8, or None
        As the model takes it; None where `error` says why not.
    error : str
        Why there are no pixels, or nothing.
    """

    path: str
    frame: int | None = None
    time: float | None = None
    face: Face | None = None
    pixels: NDArray[np.uint8] | None = None
    error: str = ""


def read_pictures(
    paths: Sequence[str], prepare: FacePreparation, *, detector: str = "cascade", person: str = "nearest"
) -> Iterator[Picture]:
    """Read images and videos one after the other, at constant memory.

    Parameters
    ----------
    paths : sequence of str
        Files.
    prepare : FacePreparation
        How a picture becomes what the model takes. In videos the face is followed unless `prepare` has a box.
    detector, person : str
        See `make_detector` and `track_face`. The detector is made at once, where faces are to be looked for; with
        "none" the pictures are cropped faces already.

    Returns
    -------
    pictures : iterator of Picture
        One for every image and every frame; one with an error for whatever cannot be read.

    Raises
    ------
    ValueError, ImportError
        If there is no such detector, or its library is not installed.
    """
    has_videos = any(map(is_video, paths))
    if has_videos:
        require_av()
    may_be_looked_for = prepare.crop == "face" or (prepare.crop is None and has_videos)
    found_by = make_detector(detector) if may_be_looked_for and detector != "none" else None
    return _pictures(paths, prepare, found_by, person)


def _pictures(
    paths: Sequence[str], prepare: FacePreparation, detector: Detector | None, person: str
) -> Iterator[Picture]:
    for path in paths:
        if is_video(path):
            yield from _of_video(path, prepare, detector, person)
            continue
        try:
            yield _of_image(path, prepare, detector, person)
        except UnreadableImageError as error:
            yield Picture(path, error=str(error))


def _of_image(path: str, prepare: FacePreparation, detector: Detector | None, person: str) -> Picture:
    image = read_image(path)
    if prepare.crop != "face" or detector is None:
        return Picture(path, pixels=prepare.of(image))
    faces = detect_with(detector, np.asarray(image))
    face = choose_face(faces, person, image.size[::-1])
    if face is None:
        raise UnreadableImageError(NO_FACE)
    return Picture(path, face=face, pixels=prepare.of_face(image, face))


def _of_video(path: str, prepare: FacePreparation, detector: Detector | None, person: str) -> Iterator[Picture]:
    try:
        if isinstance(prepare.crop, tuple) or detector is None:
            for frame in ahead(read_frames(path)):
                yield Picture(path, frame.index, frame.time, None, prepare.of(Image.fromarray(frame.colour())))
            return
        for tracked in ahead(track_face(read_frames(path), detector, person)):
            frame, face = tracked.frame, tracked.face
            if face is None:
                yield Picture(path, frame.index, frame.time, error=NO_FACE)
            else:
                pixels = prepare.of_face(Image.fromarray(frame.colour()), face)
                yield Picture(path, frame.index, frame.time, face, pixels)
    except UnreadableImageError as error:
        yield Picture(path, error=str(error))
