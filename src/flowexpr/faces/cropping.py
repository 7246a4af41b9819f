"""From one file to its crops and rows: an image has one, a video one for every frame asked for."""

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flowexpr.ahead import ahead
from flowexpr.exceptions import UnreadableImageError
from flowexpr.faces.detectors import Detector, detect_with, make_detector
from flowexpr.faces.face import NO_FACE, Face, crop_face
from flowexpr.faces.manifest import DROPPED, Row
from flowexpr.faces.preparation import fit_evenly
from flowexpr.faces.quality import is_near_duplicate, quality_of, thumbnail
from flowexpr.faces.reading import read_image
from flowexpr.faces.tables import Fix, Key, Segment, name_of
from flowexpr.faces.tracking import TrackedFrame, choose_face, track_face
from flowexpr.faces.video import VideoFrame, read_frames

__all__ = ["Crop", "Cropper", "Source"]

Crop = tuple[Row, bytes | None]
"""A row, and its crop as a PNG file, if there is one."""

ROUNDED = 1e-3
"""Seconds by which a frame may seem too early: Matroska rounds its time, and the first frame's, to milliseconds."""


@cache
def _made(detector: str, described: str) -> Detector:
    """Make a detector once in every process (OpenCV's cannot be sent from one to another), anew where it changed."""
    return make_detector(detector)


@dataclass(frozen=True)
class Source:
    """A file, and what is known of it."""

    path: str
    label: str = ""
    subject: str = ""
    clip: str = ""


@dataclass(frozen=True)
class Cropper:
    """How faces are found and cut out.

    Parameters
    ----------
    detector : str or callable
        See `flowexpr.faces.detectors`. With "none" a picture is the crop: only resized, without a margin.
    described : str
        What tells the detector from others, of the same name too.
    image_size : tuple (height, width)
        Size of the crops, pixels.
    margin : float
        Room around the face, as a share of its side.
    person : {"nearest", "largest", "central"}
        Which of several faces is taken.
    rate : float or None
        Frames a second of a video; None takes all.
    in_frames : bool
        Whether segments are given in frames instead of seconds.
    boxes : dict or None
        Where faces are, instead of a detector: of (path as `name_of` has it, frame or None).
    fixes : dict
        What a person changed: of (source, frame or None).
    """

    detector: str | Detector
    described: str
    image_size: tuple[int, int]
    margin: float
    person: str
    rate: float | None
    in_frames: bool
    boxes: dict[Key, Face] | None
    fixes: dict[Key, Fix]

    def of_images(self, sources: list[Source], folder: str) -> Iterator[Crop]:
        """Yield one row and crop for every image file."""
        before: NDArray[np.float32] | None = None
        for number, source in enumerate(sources):
            row = Row(label=source.label, subject=source.subject, clip=source.clip, source=name_of(source.path))
            try:
                image = read_image(source.path)
            except UnreadableImageError as error:
                yield self.lost(row, f"unreadable: {error}"), None
                continue
            found = self._found(row.source, None, image)
            face = choose_face(found, self.person, image.size[::-1])
            flags = ["several faces"] if len(found) > 1 else []
            crop, before = self._crop(row, image, face, f"{folder}/{number:04d}_{_stem(source.path)}", flags, before)
            yield crop

    def of_video(self, source: Source, segments: list[Segment] | None, folder: str) -> Iterator[Crop]:
        """Yield a row and crop for every frame asked for, and one row for whatever keeps others from having one."""
        wanted = _Wanted(segments, self.rate, self.in_frames)
        name = name_of(source.path)
        before: NDArray[np.float32] | None = None
        try:
            for tracked in ahead(self._tracked(name, wanted.of(read_frames(source.path)))):
                frame = tracked.frame
                image = Image.fromarray(frame.colour())
                for number in wanted.segments_of[frame.index]:
                    row = self._row(source, segments, number)
                    row = replace(row, frame=str(frame.index), time=f"{frame.time:.3f}", source=name)
                    place = f"{folder}/{number:03d}_{frame.index:07d}"
                    crop, before = self._crop(row, image, tracked.face, place, _flags(tracked), before)
                    yield crop
                del wanted.segments_of[frame.index]
        except UnreadableImageError as error:
            yield self.lost(Row(source=name), f"unreadable: {error}"), None
        for number, reason in wanted.missed() if segments else ():
            yield self.lost(replace(self._row(source, segments, number), source=name), reason), None

    def lost(self, row: Row, reason: str) -> Row:
        """Return the row of what has no crop, fixes applied: a person may have dropped it."""
        fix = self._fix_of(row)
        return replace(row, label=fix.label or row.label, status=DROPPED if fix.drop else reason)

    def _fix_of(self, row: Row) -> Fix:
        return self.fixes.get((row.source, int(row.frame) if row.frame else None), Fix())

    def _row(self, source: Source, segments: list[Segment] | None, number: int) -> Row:
        told = source if segments is None else segments[number]
        return Row(label=told.label, subject=told.subject or source.subject, clip=told.clip)

    def _tracked(self, name: str, frames: Iterator[VideoFrame]) -> Iterator[TrackedFrame]:
        if self.boxes is None:
            return track_face(frames, self._detector(), self.person)
        return (TrackedFrame(frame, self._given(name, frame.index), False, 1) for frame in frames)

    def _found(self, name: str, frame: int | None, image: Image.Image) -> list[Face]:
        if self.boxes is None:
            return detect_with(self._detector(), np.asarray(image))
        face = self._given(name, frame)
        return [] if face is None else [face]

    def _detector(self) -> Detector:
        return self.detector if callable(self.detector) else _made(self.detector, self.described)

    def _given(self, name: str, frame: int | None) -> Face | None:
        return (self.boxes or {}).get((name, frame))

    def _crop(
        self,
        row: Row,
        image: Image.Image,
        face: Face | None,
        place: str,
        flags: list[str],
        before: NDArray[np.float32] | None,
    ) -> tuple[Crop, NDArray[np.float32] | None]:
        """Return the row with its crop, fixes applied, and the thumbnail that the next is compared with."""
        fix = self._fix_of(row)
        if fix.box:
            face, flags = Face(fix.box), []
        if fix != Fix():
            flags = [*flags, "fixed"]
        if face is None or fix.drop:
            reason = NO_FACE if self.boxes is None else "no box in the table"
            return (self.lost(row, reason), None), before
        try:
            if self.detector == "none" and self.boxes is None and not fix.box:
                crop = fit_evenly(image, self.image_size)
            else:
                crop = crop_face(image, face, self.image_size, self.margin)
        except ValueError as error:
            return (self.lost(row, str(error)), None), before
        grey = np.asarray(crop.convert("L"))
        quality, small = quality_of(grey), thumbnail(grey)
        if before is not None and is_near_duplicate(before, small):
            flags = [*flags, "near-duplicate"]
        file = io.BytesIO()
        crop.save(file, "png", compress_level=1)  # crops are small and many
        row = replace(row, label=fix.label or row.label)
        row = row.measured(f"{place}.png", face, quality, [*flags, *quality.flags()])
        return (row, file.getvalue()), small


class _Wanted:
    """Which frames of a video are asked for, and by which segments."""

    def __init__(self, segments: list[Segment] | None, rate: float | None, in_frames: bool):
        whole = [Segment("", 0, math.inf, "")]
        self._segments = whole if segments is None else segments
        self._rate, self._in_frames = rate, in_frames
        self._next = [-math.inf] * len(self._segments)  # when the next frame of the rate is due, seconds
        self._began = [math.nan] * len(self._segments)
        self._last = math.nan  # where the video's last frame is, in the segments' unit
        self._gap = 1.0 if in_frames else 0.04  # the longest between two frames, in that unit
        self.segments_of: dict[int, list[int]] = {}

    def of(self, frames: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
        """Yield the frames that a segment asks for; which ones ask stands in `segments_of`."""
        last = max(segment.end for segment in self._segments)
        for frame in frames:
            place = frame.index if self._in_frames else frame.time
            self._gap = max(self._gap, place - self._last)
            self._last = place
            place += 0 if self._in_frames else ROUNDED
            if place >= last:
                if frame.damage:
                    raise UnreadableImageError(frame.damage)
                break
            asking = [i for i, segment in enumerate(self._segments) if segment.start <= place < segment.end]
            asking = [i for i in asking if self._due(i, frame.time)]
            if asking:
                self.segments_of[frame.index] = asking
                yield frame

    def _due(self, number: int, time: float) -> bool:
        if self._rate is None:
            self._began[number] = time
            return True
        if math.isnan(self._began[number]):
            self._began[number] = self._next[number] = time
        if time + ROUNDED < self._next[number]:
            return False
        done = math.floor((time + ROUNDED - self._began[number]) * self._rate)
        self._next[number] = self._began[number] + (done + 1) / self._rate
        return True

    def missed(self) -> Iterator[tuple[int, str]]:
        """Yield the segments of which no frame, or not the last ones, were in the video."""
        unit = "frame" if self._in_frames else "second"
        for number, (segment, began) in enumerate(zip(self._segments, self._began, strict=True)):
            if math.isnan(began):
                reason = f"no frame from {unit} {segment.start:g} to {segment.end:g}"
                after = f": the video's last is at {unit} {self._last:.3f}" if self._last < segment.start else ""
                yield number, reason + after
            elif self._last + 1.5 * self._gap < segment.end < math.inf:
                yield number, f"no frame after {unit} {self._last:.3f}, the video's last, to {segment.end:g}"


def _flags(tracked: TrackedFrame) -> list[str]:
    return ["jump"] * tracked.jumped + ["several faces"] * (tracked.n_faces > 1)


def _stem(path: str) -> str:
    """Return a file's name without its suffix, as every file system takes it."""
    stem = Path(name_of(path)).stem
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "_" for letter in stem)[
        :60
    ]
