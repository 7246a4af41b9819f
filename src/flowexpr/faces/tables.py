"""The CSV tables that people write: who showed what when, where the faces are, and what is to be changed."""

import csv
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowexpr.faces.face import Face

__all__ = ["Fix", "Segment", "name_of", "read_boxes", "read_fixes", "read_segments", "read_table"]

SHOWN = 5
YES = {"x", "yes", "y", "1", "true", "drop"}

Key = tuple[str, int | None]
"""A file's name, and the number of a frame in it, or None for an image."""


@dataclass(frozen=True)
class Segment:
    """A stretch of a video in which a label holds: from `start` up to, and without, `end`."""

    video: str
    start: float
    end: float
    label: str
    subject: str = ""
    clip: str = ""


@dataclass(frozen=True)
class Fix:
    """What a person changed about one crop."""

    drop: bool = False
    box: tuple[float, float, float, float] | None = None
    label: str = ""


def name_of(path: str | os.PathLike[str]) -> str:
    """Return a path as text that every table can hold; bytes that are no UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def read_table(path: str | os.PathLike[str], required: tuple[str, ...], kind: str) -> list[dict[str, str]]:
    """Read a CSV file with a header; cells lose the blanks around them.

    Parameters
    ----------
    path : path-like
        The file, in UTF-8.
    required : tuple of str
        Columns that it must have.
    kind : str
        What it is, for messages.

    Returns
    -------
    rows : list of dict
        Missing cells are empty.

    Raises
    ------
    ValueError
        If it is no such table.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            names = [name.strip() for name in reader.fieldnames or []]
            rows = [dict(zip(names, map(_stripped, row.values()), strict=False)) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"{path} was expected to be {kind}, a CSV file in UTF-8, but cannot be read as one ({error}). Save "
            f"it as UTF-8 with commas between the columns {', '.join(required)}."
        ) from error
    if not set(required) <= set(names) or not rows:
        raise ValueError(
            f"{path} was expected to be {kind} with a header with the column {', '.join(required)}, commas between "
            f"columns, and at least one row, but has the columns {', '.join(names) or 'none'} and {len(rows)} rows."
        )
    return rows


def _stripped(cell: Any) -> str:
    return cell.strip() if isinstance(cell, str) else ""


def read_segments(path: str | os.PathLike[str]) -> list[Segment]:
    """Read the table of who showed what when: video, start, end, label and, where known, subject and clip.

    Parameters
    ----------
    path : path-like
        The CSV file. A segment without a clip gets one of its own: the video's name and the segment's number in it.

    Returns
    -------
    segments : list of Segment
        In the order of the table.

    Raises
    ------
    ValueError
        If a row is not complete or its times are none; all such rows are named.
    """
    rows = read_table(path, ("video", "start", "end", "label"), "a table of segments")
    segments, wrong = [], []
    counts: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        start, end = _number(row["start"]), _number(row["end"])
        if not row["video"] or not row["label"] or not 0 <= start < end:
            wrong.append(f"line {number} ({', '.join(row.values())})")
            continue
        counts[row["video"]] = counts.get(row["video"], 0) + 1
        clip = row.get("clip") or f"{Path(row['video']).stem}_{counts[row['video']]}"
        segments.append(Segment(row["video"], start, end, row["label"], row.get("subject", ""), clip))
    if wrong:
        raise ValueError(
            f"{path} was expected to have in every row a video, a label, and numbers 0 <= start < end, but "
            f"{len(wrong)} rows have not: {_some(wrong)}."
        )
    return segments


def read_boxes(path: str | os.PathLike[str]) -> dict[Key, Face]:
    """Read where faces are: path, frame (of a video), and left, top, right, bottom, or the eyes, in pixels.

    Parameters
    ----------
    path : path-like
        The CSV file. The eyes are ``left_x, left_y, right_x, right_y``, left and right as in the picture; where they
        are given the box is not needed.

    Returns
    -------
    faces : dict of (name, frame or None) to Face
        By the name as it stands in the table.
    """
    faces: dict[Key, Face] = {}
    wrong = []
    for number, row in enumerate(read_table(path, ("path",), "a table of boxes"), start=2):
        box = [_number(row.get(name, "")) for name in ("left", "top", "right", "bottom")]
        eyes = [_number(row.get(name, "")) for name in ("left_x", "left_y", "right_x", "right_y")]
        frame = _number(row.get("frame", "") or "0")
        if all(map(math.isfinite, eyes)) and eyes[:2] != eyes[2:]:
            face = Face.of_eyes([eyes[:2], eyes[2:]], 1.0)
        elif all(map(math.isfinite, box)) and box[0] < box[2] and box[1] < box[3]:
            face = Face((box[0], box[1], box[2], box[3]), None, 1.0)
        else:
            wrong.append(f"line {number} ({row['path']})")
            continue
        if not frame.is_integer():
            wrong.append(f"line {number} (frame {row['frame']})")
            continue
        faces[row["path"], int(frame) if row.get("frame") else None] = face
    if wrong:
        raise ValueError(
            f"{path} was expected to have in every row a box (left < right, top < bottom) or two eyes, in pixels, but "
            f"{len(wrong)} rows have not: {_some(wrong)}."
        )
    return faces


def read_fixes(path: str | os.PathLike[str]) -> dict[Key, Fix]:
    """Read the table that ``prepare --review`` wrote and a person edited: source, frame, drop, new_box, new_label.

    Parameters
    ----------
    path : path-like
        The CSV file. Any of x, yes, y, 1, true in the column drop leaves the crop out; a new box is four numbers,
        left top right bottom.

    Returns
    -------
    fixes : dict of (source, frame or None) to Fix
        Rows in which nothing was written are left out.
    """
    fixes: dict[Key, Fix] = {}
    wrong = []
    for number, row in enumerate(read_table(path, ("source", "frame", "drop", "new_box", "new_label"), "fixes"), 2):
        cells = [_number(cell) for cell in row["new_box"].replace(",", " ").split()]
        finite = all(map(math.isfinite, cells))
        whole = len(cells) == 4 and finite and cells[0] < cells[2] and cells[1] < cells[3]
        drop = row["drop"].lower()
        if (cells and not whole) or (drop and drop not in YES | {"no", "n", "0", "false"}):
            wrong.append(f"line {number} (drop {row['drop']!r}, new_box {row['new_box']!r})")
            continue
        box = (cells[0], cells[1], cells[2], cells[3]) if cells else None
        if drop in YES or box or row["new_label"]:
            frame = int(row["frame"]) if row["frame"] else None
            fixes[row["source"], frame] = Fix(drop in YES, box, row["new_label"])
    if wrong:
        raise ValueError(
            f"{path} was expected to have x or nothing in drop, and four numbers, left top right bottom, or nothing in "
            f"new_box, but {len(wrong)} rows have not: {_some(wrong)}."
        )
    return fixes


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
