"""What a person should look at: a page of crops with the most doubtful first, and a table to write changes into."""

import csv
import html
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from flowexpr.faces.manifest import OK, Row
from flowexpr.files import write_atomically

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

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px; padding: 0 1rem;
       color: #1d232b; background: #fff; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
p { margin: .3rem 0; max-width: 52rem; } code { background: #eef1f4; padding: .1em .3em; border-radius: 3px; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(136px, 1fr)); gap: .8rem; }
figure { margin: 0; border: 1px solid #d5dae0; border-radius: 6px; overflow: hidden; font-size: 12px; }
figure.doubt { border-color: #c2410c; }
figure img { width: 100%; aspect-ratio: 1; object-fit: contain; background: #1d232b; display: block; }
figcaption { padding: .35rem .5rem .45rem; overflow-wrap: anywhere; color: #4a5460; }
figcaption b { color: #1d232b; } figcaption em { color: #b03a08; font-style: normal; display: block; }
table { border-collapse: collapse; font-size: 13px; } td, th { text-align: left; padding: .25rem .9rem .25rem 0;
       border-bottom: 1px solid #e3e7eb; overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) { body { background: #14181d; color: #e6eaee; } figcaption { color: #aab4bf; }
  figcaption b { color: #fff; } figure { border-color: #38414b; } code { background: #262d35; }
  figcaption em { color: #ff9d6b; } td, th { border-color: #2b333c; } }
"""


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
    others = [row for row in ranked if row.status != OK]
    flags = Counter(flag for row in crops for flag in row.flags.split("; ") if flag)
    counted = ", ".join(f"{flag} {count}" for flag, count in flags.most_common()) or "none"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Faces to review</title><style>{STYLE}</style>",
        f"<h1>Faces to review</h1><p>{len(crops)} crops, the most doubtful first; {len(others)} frames or files "
        f"without one. Flags: {html.escape(counted)}.</p>",
        f"<p>To change something, write into <code>{FIXES}</code>: <code>x</code> under drop, <code>left top right "
        "bottom</code> in pixels of the source under new_box, or a label under new_label; then run the same "
        f"<code>flowexpr prepare</code> with <code>--fixes {FIXES}</code>. Rows left empty change nothing.</p>",
    ]
    if others:
        parts += ["<h2>Without a crop</h2>", _table(others)]
    parts += ["<h2>Crops</h2><div class=sheet>", *map(_figure, crops), "</div></html>"]
    return "\n".join(parts)


def _figure(row: Row) -> str:
    title = html.escape(" · ".join(filter(None, (row.label, row.subject, row.clip))) or "no label")
    file = "/".join(Path(row.source).parts[-2:])  # files of one name are of different folders
    place = html.escape(file + (f", frame {row.frame} ({row.time} s)" if row.frame else ""))
    flags = f"<em>{html.escape(row.flags)}</em>" if row.flags else ""
    score = f"score {row.detector_score}, " if row.detector_score else ""
    kind = " class=doubt" if doubt_of(row) >= DOUBTS["blurred"] else ""
    return (
        f"<figure{kind}><img loading=lazy src='{html.escape(row.path, quote=True)}' alt=''>"
        f"<figcaption><b>{title}</b><br>{place}<br>{score}blur {row.blur}{flags}</figcaption></figure>"
    )


def _table(rows: list[Row]) -> str:
    lines = ["<table><tr><th>file<th>frame<th>label<th>why"]
    lines += [
        f"<tr><td>{html.escape(row.source)}<td>{row.frame}<td>{html.escape(row.label)}<td>{html.escape(row.status)}"
        for row in rows
    ]
    return "\n".join([*lines, "</table>"])


def _fixes(ranked: list[Row]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "frame", "doubt", "status", "flags", "box", "label", "drop", "new_box", "new_label"])
    for row in ranked:
        known = [row.source, row.frame, f"{doubt_of(row):.2f}", row.status, row.flags, row.box, row.label]
        writer.writerow([*known, "", "", ""])
    return text.getvalue().encode("utf-8", "backslashreplace")
