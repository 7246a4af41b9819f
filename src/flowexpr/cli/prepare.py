"""``flowexpr prepare``: from recordings and photographs to a data set of face crops."""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from flowexpr.cli.options import command_parser, time_and_memory
from flowexpr.datasets.entries import describe_files
from flowexpr.datasets.layouts import LAYOUTS
from flowexpr.faces import Source, prepare_faces, read_boxes, read_fixes, read_segments
from flowexpr.faces.manifest import OK, Row
from flowexpr.faces.preparation import MARGIN
from flowexpr.faces.reading import IMAGE_SUFFIXES, find_files
from flowexpr.faces.review import PAGE, write_review
from flowexpr.faces.tracking import CHOICES
from flowexpr.faces.video import VIDEO_SUFFIXES

__all__ = ["add_parser"]

DETAILS = r"""examples:
  flowexpr prepare recordings --segments segments.csv --rate 5 -o faces --review
  flowexpr prepare jaffe --layout jaffe -o faces
  flowexpr prepare photos --label '^(\w+)_' --subject '_(\d+)\.' -o faces --workers 2
  flowexpr prepare recordings --segments segments.csv --rate 5 -o faces --fixes faces/fix.csv

segments.csv has the columns video,start,end,label and, where known, subject and clip; seconds from the start of the
video, as its file gives it (or frames, from 0, with --unit frames), the end not included. DATASET/manifest.csv has a
row for every frame or file asked for; the column status is "ok" where there is a crop, and says why not where there is
none. A run that was killed goes on when it is run again. flowexpr fit, evaluate and load_faces read DATASET. The
status is 1 where there is no crop at all.
"""


def add_parser(commands: Any) -> None:
    """Add the sub-command."""
    parser = command_parser(commands, "prepare", "cut faces out of recordings and photographs", DETAILS)
    parser.add_argument("inputs", metavar="INPUT", nargs="+", help="videos, images, or folders of them")
    parser.add_argument("-o", "--output", required=True, metavar="DATASET", help="folder to write")
    what = parser.add_argument_group("what is taken, and what is known of it")
    what.add_argument("--segments", metavar="CSV", help="who showed what when, in which video")
    what.add_argument("--unit", choices=["seconds", "frames"], default="seconds", help="of segments; default seconds")
    what.add_argument("--rate", type=float, metavar="FPS", help="frames to take of a second of video; default all")
    what.add_argument(
        "--layout",
        choices=[*LAYOUTS, "folder"],
        help="how image files are named; default folder for those found in a folder, where there are no segments",
    )
    for name, meaning in (("label", "the expression"), ("subject", "who is seen"), ("clip", "the recording")):
        what.add_argument(f"--{name}", metavar="REGEX", help=f"{meaning}, from the file name (first group)")
    how = parser.add_argument_group("how faces are found and cut out")
    how.add_argument(
        "--detector",
        default="cascade",
        metavar="NAME",
        help="cascade (default, extra [faces]), haar (extra [opencv]), a YuNet .onnx file, or none for cropped faces",
    )
    how.add_argument(
        "--boxes",
        metavar="CSV",
        help="where faces are, instead of a detector: path, frame and left, top, "
        "right, bottom or left_x, left_y, right_x, right_y of the eyes",
    )
    how.add_argument(
        "--person",
        choices=CHOICES,
        default="nearest",
        help="which face, where there are several: nearest (default) to where it was last, largest, or most central",
    )
    how.add_argument("--image-size", metavar="PIXELS", type=int, default=64, help="side of the crops; default 64")
    how.add_argument("--margin", type=float, metavar="X", default=MARGIN, help=f"room around a face; default {MARGIN}")
    how.add_argument("--workers", type=int, metavar="N", default=1, help="processes; default 1")
    after = parser.add_argument_group("checking")
    after.add_argument("--review", action="store_true", help="write review.html and fix.csv, the most doubtful first")
    after.add_argument("--fixes", metavar="CSV", help="apply a fix.csv in which you dropped or changed something")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    began = time.perf_counter()
    rows = prepare_faces(
        _sources(options),
        options.output,
        segments=read_segments(options.segments) if options.segments else None,
        in_frames=options.unit == "frames",
        rate=options.rate,
        detector=options.detector,
        boxes=read_boxes(options.boxes) if options.boxes else None,
        person=options.person,
        image_size=options.image_size,
        margin=options.margin,
        fixes=read_fixes(options.fixes) if options.fixes else None,
        workers=options.workers,
        verbose=int(sys.stderr.isatty()),
    )
    print(_summary(rows))
    if options.review or (Path(options.output) / PAGE).is_file():  # an old page would show crops that are gone
        page, fixes = write_review(rows, Path(options.output))
        print(f"look at {page}; write what is wrong into {fixes}")
    print(time_and_memory(began))
    return 0 if any(row.status == OK for row in rows) else 1


def _sources(options: argparse.Namespace) -> list[Source]:
    """Return all files of the inputs, with what the layout or the patterns say of them.

    Folders are searched, but for the data set that is written.
    """
    patterns = {name: getattr(options, name) for name in ("label", "subject", "clip")}
    output = Path(options.output)
    sources: list[Source] = []
    missing = [given for given in options.inputs if not Path(given).exists()]
    if missing:
        raise ValueError(f"there is no file or folder {missing[0]} ({len(missing)} of {len(options.inputs)} inputs).")
    for given in map(Path, options.inputs):
        if given.resolve().is_relative_to(output.resolve()):
            raise ValueError(
                f"INPUT {given} was expected to be recordings or photographs, but lies in the data set {output} that "
                "is written. Pass what the data set is made of."
            )
        folder = given.is_dir()
        paths = find_files(given, IMAGE_SUFFIXES | VIDEO_SUFFIXES, output) if folder else [given]
        # A file's own folder may say its label.
        base = given.absolute() if folder else given.absolute().parent.parent
        layout = options.layout or ("folder" if folder and not options.segments else None)
        absolute = [path.absolute() for path in paths]
        for path, entry in zip(paths, describe_files(absolute, base, patterns, layout), strict=True):
            sources.append(Source(str(path), entry.label, entry.subject or "", entry.clip or ""))
        if not paths:
            sources.append(Source(str(given)))  # its row says that it is a folder without images
    return sources


def _summary(rows: list[Row]) -> str:
    crops = [row for row in rows if row.status == OK]
    lines = [f"{len(crops)} crops of {len(rows)} frames or files"]
    for name in ("label", "subject", "clip"):
        values = Counter(getattr(row, name) for row in crops if getattr(row, name))
        if values and name == "label":
            lines.append(", ".join(f"{value} {count}" for value, count in sorted(values.items())))
        elif values:
            lines[0] += f", {len(values)} {name}s"
    reasons = Counter(row.status.split(":")[0] for row in rows if row.status != OK)
    lines += [f"without a crop: {reason} {count}" for reason, count in reasons.most_common()]
    flags = Counter(flag for row in crops for flag in row.flags.split("; ") if flag)
    lines += [f"flagged: {flag} {count}" for flag, count in flags.most_common()]
    return "\n".join(lines)
