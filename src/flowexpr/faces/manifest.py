"""The table of a prepared data set: one row for every frame or file asked for, whatever became of it."""

import csv
import io
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import TextIO

from flowexpr.faces.face import Face
from flowexpr.faces.quality import Quality

__all__ = ["COLUMNS", "DROPPED", "MANIFEST", "OK", "Row", "read_rows", "to_csv", "write_rows"]

MANIFEST = "manifest.csv"
SHARED = frozenset({"label", "subject", "clip", "status", "source", "flags"})
"""Columns of which many rows hold the same text, which is then held once."""
OK, DROPPED = "ok", "dropped by hand"
"""Status of a row that has a crop, and of one that a person left out."""


@dataclass(frozen=True, slots=True)
class Row:
    """One frame or file, as text; what is not known is empty.

    Attributes
    ----------
    path : str
        The crop, below the data set; empty where there is none.
    label, subject, clip : str
        What is known of it.
    frame, time : str
        Number of the frame in its video, and seconds from the start of the video, as its file gives it.
    box, landmarks : str
        Pixels of the source: left top right bottom, and x y of the eyes.
    detector_score, blur, brightness, contrast : str
        Measures; see `flowexpr.faces.quality`.
    status : str
        "ok", or why there is no crop.
    source : str
        The file that it comes from.
    flags : str
        What to look at: jump, several faces, near-duplicate, blurred, dark, overexposed, flat, fixed.
    """

    path: str = ""
    label: str = ""
    subject: str = ""
    clip: str = ""
    frame: str = ""
    time: str = ""
    box: str = ""
    landmarks: str = ""
    detector_score: str = ""
    blur: str = ""
    brightness: str = ""
    contrast: str = ""
    status: str = OK
    source: str = ""
    flags: str = ""

    def measured(self, path: str, face: Face, quality: Quality, flags: Iterable[str]) -> "Row":
        """Return the row with its crop and what was measured of it."""
        eyes = "" if face.eyes is None else " ".join(f"{value:.1f}" for eye in face.eyes for value in eye)
        measures = {
            "path": path,
            "box": " ".join(f"{value:.1f}" for value in face.box),
            "landmarks": eyes,
            "detector_score": "" if math.isnan(face.score) else f"{face.score:.3f}",
            "blur": f"{quality.blur:.3f}",
            "brightness": f"{quality.brightness:.1f}",
            "contrast": f"{quality.contrast:.1f}",
            "flags": "; ".join(flags),
        }
        return Row(**{**asdict(self), **measures})


COLUMNS = tuple(field.name for field in fields(Row))


def to_csv(rows: Iterable[Row]) -> bytes:
    """Return rows with their header as a CSV file in UTF-8."""
    text = io.StringIO(newline="")
    write_rows(rows, text)
    return text.getvalue().encode("utf-8", "backslashreplace")


def write_rows(rows: Iterable[Row], file: TextIO) -> None:
    """Write rows with their header, one at a time."""
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)


def read_rows(file: TextIO) -> Iterator[Row]:
    """Read rows that `write_rows` wrote."""
    for row in csv.DictReader(file):
        yield Row(**{name: sys.intern(text) if name in SHARED else text for name, text in row.items()})
