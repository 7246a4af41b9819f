"""The CSV tables that people write: who showed what when, where the faces are, and what is to be changed."""

import csv
import math
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from flowexpr.exceptions import some
from flowexpr.faces.face import Box, Face

__all__ = [
    "Fix",
    "Key",
    "Segment",
    "name_of",
    "read_boxes",
    "read_fixes",
    "read_segments",
    "read_table",
    "whole_number",
]

YES, NO = {"x", "yes", "y", "1", "true", "drop"}, {"", "no", "n", "0", "false"}

T = TypeVar("T")
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
    box: Box | None = None
    label: str = ""


def name_of(path: str | os.PathLike[str]) -> str:
    """Return a path as text that every table can hold; bytes that are no UTF-8, and carriage returns, are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace").replace("\r", "\\r")


def read_table(path: str | os.PathLike[str], required: tuple[str, ...], kind: str) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV file with a header; cells lose the blanks around them, names of columns are in lower case.

    Parameters
    ----------
    path : path-like
        The file, in UTF-8, with commas between the columns; or semicolons or tabs, as spreadsheets write them too.
    required : tuple of str
        Columns that it must have.
    kind : str
        What it is, for messages.

    Returns
    -------
    rows : list of (int, dict)
        The number of the line, and its cells, of which missing ones are empty. Lines without any cell are left out,
        and so are columns without a name.

    Raises
    ------
    ValueError
        If it is no such table, two columns have one name, or a row has more cells than the header.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=next((mark for mark in ",;\t" if mark in first), ","))
            names = [name.strip().lower() for name in next(reader, [])]
            rows, wider = [], []
            for cells in reader:
                cells = [cell.strip() for cell in cells]
                if any("\0" in cell for cell in cells):
                    raise csv.Error(f"line {reader.line_num} holds a NUL byte")
                if any(cells[len(names) :]):
                    wider.append(f"line {reader.line_num} ({', '.join(cells)})")
                filled = cells + [""] * (len(names) - len(cells))
                if any(cells):
                    rows.append(
                        (reader.line_num, {name: cell for name, cell in zip(names, filled, strict=False) if name})
                    )
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"{path} was expected to be {kind}, a CSV file in UTF-8, but cannot be read as one ({error}). Save "
            f"it as UTF-8 with commas between the columns {', '.join(required)}."
        ) from error
    repeated = [name for name, count in Counter(names).items() if name and count > 1]
    if repeated:
        raise ValueError(f"{path} has several columns of the name {repeated[0]}. Rename or remove all but one.")
    if not set(required) <= set(names) or not rows:
        raise ValueError(
            f"{path} was expected to be {kind} with a header with the column {', '.join(required)}, commas between "
            f"columns, and at least one row, but has the columns {', '.join(names) or 'none'} and {len(rows)} rows."
        )
    if wider:
        raise ValueError(
            f"{path} was expected to have {len(names)} cells in a row, one for each column, but {len(wider)} rows have "
            f"more: {some(wider)}. Write decimals with a point, and put a cell that holds a comma in double quotes."
        )
    return rows


def whole_number(text: str) -> int:
    """Return an integer that may be written as "7.0", as tables with gaps have it; raise a ValueError otherwise."""
    number = float(text)
    if not number.is_integer():
        raise ValueError
    return int(number)


def read_segments(path: str | os.PathLike[str]) -> list[Segment]:
    """Read the table of who showed what when: video, start, end, label and, where known, subject and clip.

    Parameters
    ----------
    path : path-like
        The CSV file. A segment without a clip gets one of its own: the video as the table names it, without its
        suffix, and a number.

    Returns
    -------
    segments : list of Segment
        In the order of the table.

    Raises
    ------
    ValueError
        If a row is not complete or its times are none; all such rows are named.
    """
    counts: Counter[str] = Counter()

    def parse(row: dict[str, str]) -> Segment:
        start, end = float(row["start"]), float(row["end"])
        if not row["video"] or not row["label"] or not 0 <= start < end:
            raise ValueError
        return Segment(row["video"], start, end, row["label"], row.get("subject", ""), row.get("clip", ""))

    required = ("video", "start", "end", "label")
    expected = "a video, a label, and numbers 0 <= start < end"
    segments = _parsed(path, required, "a table of segments", parse, expected)
    taken = {segment.clip for segment in segments}
    named = []
    for segment in segments:
        video = Path(segment.video).with_suffix("").as_posix()
        counts[video] += 1
        while not segment.clip and f"{video}_{counts[video]}" in taken:  # a clip that the table names
            counts[video] += 1
        named.append(replace(segment, clip=segment.clip or f"{video}_{counts[video]}"))
    return named


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

    def parse(row: dict[str, str]) -> tuple[Key, Face]:
        eyes = _numbers(row, ("left_x", "left_y", "right_x", "right_y"))
        box = _numbers(row, ("left", "top", "right", "bottom"))
        if eyes and all(map(math.isfinite, eyes)) and eyes[:2] != eyes[2:]:
            return _key(row, "path"), Face.of_eyes([eyes[:2], eyes[2:]], 1.0)
        return _key(row, "path"), Face(_box(box), None, 1.0)

    expected = (
        "a path, for a video the number of a frame, and a box (left < right, top < bottom) or two eyes, in pixels"
    )
    boxes = _parsed(path, ("path",), "a table of boxes", parse, expected)
    counts = Counter(key for key, _ in boxes)
    repeated = [f"{name}, frame {frame}" if frame is not None else name for (name, frame), n in counts.items() if n > 1]
    if repeated:
        raise ValueError(
            f"{path} was expected to hold one face a frame, but holds several of {some(repeated)}. Leave one in it."
        )
    return dict(boxes)


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
        Rows in which nothing was written are left out; those of one frame are put together.
    """

    def parse(row: dict[str, str]) -> tuple[Key, Fix]:
        drop, cells = row["drop"].lower(), row["new_box"].replace(",", " ").split()
        if drop not in YES | NO:
            raise ValueError
        box = _box([float(cell) for cell in cells]) if cells else None
        return _key(row, "source"), Fix(drop in YES, box, row["new_label"])

    required = ("source", "frame", "drop", "new_box", "new_label")
    expected = "x or nothing in drop, and four numbers, left top right bottom, or nothing in new_box"
    fixes: dict[Key, Fix] = {}
    for key, fix in _parsed(path, required, "fixes", parse, expected):
        if fix != Fix():  # of a frame in two segments there are two rows, and what either says holds
            other = fixes.get(key, Fix())
            fixes[key] = Fix(fix.drop or other.drop, fix.box or other.box, fix.label or other.label)
    return fixes


def _parsed(
    path: str | os.PathLike[str],
    required: tuple[str, ...],
    kind: str,
    parse: Callable[[dict[str, str]], T],
    expected: str,
) -> list[T]:
    """Read a table row by row; name all rows that `parse` refuses with a ValueError."""
    parsed, wrong = [], []
    for number, row in read_table(path, required, kind):
        try:
            parsed.append(parse(row))
        except ValueError:
            wrong.append(f"line {number} ({', '.join(row.values())})")
    if wrong:
        raise ValueError(
            f"{path} was expected to have in every row {expected}, but {len(wrong)} rows have not: {some(wrong)}."
        )
    return parsed


def _key(row: dict[str, str], name: str) -> Key:
    if not row[name]:
        raise ValueError
    return row[name], whole_number(row["frame"]) if row.get("frame") else None


def _numbers(row: dict[str, str], names: tuple[str, ...]) -> list[float]:
    """Return the cells as numbers; none where a cell is empty."""
    cells = [row.get(name, "") for name in names]
    return [float(cell) for cell in cells] if all(cells) else []


def _box(cells: list[float]) -> Box:
    if len(cells) != 4 or not all(map(math.isfinite, cells)) or not (cells[0] < cells[2] and cells[1] < cells[3]):
        raise ValueError
    return cells[0], cells[1], cells[2], cells[3]
