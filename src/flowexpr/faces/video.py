"""Reading videos frame by frame with PyAV, at constant memory, with the time of every frame as the file has it."""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowexpr.exceptions import UnreadableImageError
from flowexpr.faces.reading import refuse_pipe

__all__ = ["VIDEO_SUFFIXES", "VideoFrame", "is_video", "read_frames", "require_av"]

VIDEO_SUFFIXES = {
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".wmv", ".flv"),
    *(".mpg", ".mpeg", ".mts", ".m2ts", ".ts", ".3gp", ".ogv", ".vob"),
}
TOLERANCE = 0.5
"""Seconds by which a whole video may be shorter than its file says."""


@dataclass(frozen=True)
class VideoFrame:
    """One frame, decoded only when its pixels are asked for.

    Attributes
    ----------
    index : int
        Its place in the video, in the order in which frames are shown, from 0.
    time : float
        Seconds from where the file says that its pictures begin, or else from the first frame; frames need not be
        equally far apart. Times that start again, as in files that were put together, go on.
    damage : str
        Why a stretch before it, or several, could not be decoded; empty where there is none.
    """

    index: int
    time: float
    damage: str
    _frame: Any
    _turn: int

    def grey(self) -> NDArray[np.uint8]:
        """Return the brightness, (H, W) uint8."""
        if self._frame.format.name in ("yuv420p", "yuvj420p", "nv12", "gray"):
            plane = self._frame.planes[0]
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            grey = rows[: self._frame.height, : self._frame.width]
        else:
            grey = self._frame.to_ndarray(format="gray")
        return np.ascontiguousarray(np.rot90(grey, self._turn))

    def colour(self) -> NDArray[np.uint8]:
        """Return red, green and blue, (H, W, 3) uint8."""
        return np.ascontiguousarray(np.rot90(self._frame.to_ndarray(format="rgb24"), self._turn))


def is_video(path: str | os.PathLike[str]) -> bool:
    """Tell by its suffix whether a file is a video."""
    return os.path.splitext(os.fspath(path))[1].lower() in VIDEO_SUFFIXES


def read_frames(path: str | os.PathLike[str]) -> Iterator[VideoFrame]:
    """Decode a video, one frame after the other.

    Parameters
    ----------
    path : path-like
        The file.

    Yields
    ------
    frame : VideoFrame
        In the order in which they are shown. A damaged stretch is left out.

    Raises
    ------
    UnreadableImageError
        If the file is missing, holds no video, or no frame of it can be decoded; or, after the last good frame, if
        what follows cannot be, or the file says that more should follow.
    ImportError
        If PyAV is not installed.
    """
    require_av()
    import av

    av.logging.set_level(None)  # damage is told by an exception, not by lines on standard error
    try:
        refuse_pipe(path)
        # Tags need not be UTF-8, which PyAV minds before version 19.
        lenient: Any = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
        # The whole path, since a name with a colon would be taken for a protocol.
        with av.open(os.path.abspath(os.fspath(path)), **lenient) as container:
            if not container.streams.video:
                raise UnreadableImageError("a file without a video stream")
            yield from _decoded(container)
    except UnreadableImageError:
        raise
    except FileNotFoundError as error:
        raise UnreadableImageError("no such file") from error
    except PermissionError as error:
        raise UnreadableImageError("no permission to read it") from error
    except (av.error.FFmpegError, ValueError, OSError, UnicodeError, MemoryError) as error:
        raise UnreadableImageError(f"not a video, or damaged: {_reason(error)}") from error


def require_av() -> None:
    """Fail early, with the remedy, where PyAV is missing."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "reading videos needs PyAV, which is not installed. Install it with: pip install 'flowexpr[video]'"
        ) from error


def _decoded(container: Any) -> Iterator[VideoFrame]:
    import av

    stream = container.streams.video[0]
    # Frames in threads cost memory for each thread; slices cost none.
    stream.thread_type = "SLICE"
    begins = None if stream.start_time is None else float(stream.start_time * stream.time_base)
    period = float(1 / stream.average_rate) if stream.average_rate else 1 / 25
    clock, index = _Clock(begins, period), 0
    failed: Exception | None = None
    ends = 0.0  # of the packets that are there, seconds
    # Flash tells how long the whole file is, sound included.
    for packet in container.demux(*() if container.format.name == "flv" else (stream,)):
        start = packet.dts if packet.pts is None else packet.pts
        if start is not None:
            ends = max(ends, float((start + (packet.duration or 0)) * packet.time_base))
        if packet.stream_index != stream.index:
            continue
        try:
            frames = packet.decode()
        except av.error.FFmpegError as error:
            failed = error
            continue
        for frame in frames:
            time = clock.read(frame.time if frame.time is not None else index * period)
            damage = f"parts of it cannot be decoded: {_reason(failed)}" if failed else ""
            yield VideoFrame(index, time, damage, frame, _quarter_turns(frame))
            index += 1
    if not index:
        raise UnreadableImageError(f"no frame can be decoded{f': {_reason(failed)}' if failed else ''}")
    if failed is not None:
        raise UnreadableImageError(f"parts of it cannot be decoded: {_reason(failed)}")
    began, promised = clock.began or 0.0, _promised_end(container, stream)
    if ends < promised - TOLERANCE:
        raise UnreadableImageError(f"it breaks off after {ends - began:.3f} of {promised - began:.3f} seconds")


class _Clock:
    """Seconds of frames from where the pictures begin; times that start again go on from where they were.

    Parameters
    ----------
    begins : float or None
        Where the file says that its pictures begin, seconds; None where it does not, and the first frame is it.
    period : float
        Seconds from the first frame to the next, where times start again in between.
    """

    def __init__(self, begins: float | None, period: float) -> None:
        self.began: float | None = None
        self._begins = begins
        self._last, self._gap, self._shift = -math.inf, period, 0.0

    def read(self, told: float) -> float:
        """Return the seconds of the next frame, whose time the file tells."""
        if self.began is None:
            self.began = told if self._begins is None else min(self._begins, told)
        if told - self.began + self._shift < self._last:
            self._shift = self._last + self._gap + self.began - told
        time = told - self.began + self._shift
        if self._last > -math.inf:
            self._gap = time - self._last
        self._last = time
        return time


def _promised_end(container: Any, stream: Any) -> float:
    """Return when the file says that its pictures end, seconds; 0 where it does not say."""
    kind = container.format.name
    if kind == "flv":
        return float(container.duration or 0) / 1e6
    if kind == "avi":  # its duration is a guess where it is cut off
        return float(stream.frames / stream.average_rate) if stream.average_rate else 0.0
    if "mp4" in kind:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base) if stream.duration else 0.0
    told = re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", ""))  # Matroska
    return 3600 * int(told[1]) + 60 * int(told[2]) + float(told[3]) if told else 0.0


def _quarter_turns(frame: Any) -> int:
    """Return by how many quarters, counter-clockwise, the recorder says that the frame is to be turned."""
    return round(getattr(frame, "rotation", 0) / 90) % 4


def _reason(error: Exception | None) -> str:
    return str(getattr(error, "strerror", None) or error or "unknown").splitlines()[0]
