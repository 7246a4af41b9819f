"""What a person should look at: a page of crops with the most doubtful first, and a table to write changes into."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowexpr.faces.manifest import OK, Row
from flowexpr.files import write_atomically
from flowexpr.page_templates import page_template

__all__ = ["PAGE", "doubt_of", "write_review"]

PAGE, FIXES = "review.html", "fix.csv"
DOUBTS = {
    "jump": 2.0,
    "several faces": 1.0,
    "blurred": 0.8,
    "dark": 0.8,
    "overexposed": 0.8,
    "flat": 0.8,
    "near-duplicate": 0.1,
    "fixed": 0.0,
}
"""How much each flag counts; no crop at all counts `NO_CROP`."""
NO_CROP = 5.0


def doubt_of(row: Row) -> float:
    """Return how much a row is to be doubted: 0 for a crop of which nothing is suspicious.

    Parameters
    ----------
    row : Row
        Of the manifest.

    Returns
    -------
    doubt : float
        The weights of its flags, and how unlike a face the crop is.
    """
    if row.status != OK:
        return NO_CROP if not row.status.startswith("dropped") else 0.0
    flags = sum(DOUBTS.get(flag, 0.0) for flag in row.flags.split("; ") if flag)
    unlike = 1 - float(row.detector_score) if row.detector_score else 0.5
    return flags + max(0.0, min(1.0, unlike))


def write_review(rows: Sequence[Row], output: Path) -> tuple[Path, Path]:
    """Write the contact sheet and the table of fixes beside the manifest.

    Parameters
    ----------
    rows : sequence of Row
        The manifest.
    output : Path
        The data set.

    Returns
    -------
    page, fixes : Path
        ``review.html`` and ``fix.csv``. A ``fix.csv`` that is there already is kept: a person may have written in it.
    """
    order = sorted(range(len(rows)), key=lambda i: (-doubt_of(rows[i]), i))
    ranked = [rows[i] for i in order]
    page, fixes = output / PAGE, output / FIXES
    write_atomically(page, _page(ranked).encode("utf-8"))
    if not fixes.is_file():
        write_atomically(fixes, _fixes(ranked))
    return page, fixes


def _page(ranked: list[Row]) -> str:
    crops = [row for row in ranked if row.status == OK]
    flags = Counter(flag for row in crops for flag in row.flags.split("; ") if flag)
    return page_template("flowexpr.faces", "review.html").render(
        crops=[_figure(row) for row in crops],
        others=[row for row in ranked if row.status != OK],
        flags=", ".join(f"{flag} {count}" for flag, count in flags.most_common()) or "none",
        fixes=FIXES,
    )


def _figure(row: Row) -> dict[str, Any]:
    """Return what stands under a crop."""
    file = "/".join(Path(row.source).parts[-2:])  # files of one name are of different folders
    return {
        "row": row,
        "title": " · ".join(filter(None, (row.label, row.subject, row.clip))) or "no label",
        "place": file + (f", frame {row.frame} ({row.time} s)" if row.frame else ""),
        "is_doubtful": doubt_of(row) >= DOUBTS["blurred"],
    }


def _fixes(ranked: list[Row]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "frame", "doubt", "status", "flags", "box", "label", "drop", "new_box", "new_label"])
    for row in ranked:
        known = [row.source, row.frame, f"{doubt_of(row):.2f}", row.status, row.flags, row.box, row.label]
        writer.writerow([*known, "", "", ""])
    return text.getvalue().encode("utf-8", "backslashreplace")
