"""prepare_faces: recordings and photographs in, a folder of checked face crops and its manifest out.

The work is cut into units, a video or a few dozen images. A unit's crops are written beside their place, in a folder
that only this run knows, so that workers whose run was killed spoil no later one; the run itself moves them and then
writes, atomically, the unit's rows, under a name that holds a checksum of everything they depend on. The manifest is
written when all units have their rows, and taken away before anything changes. So a run that was killed goes on from
the unit it was in, and whoever reads the folder finds a whole data set or none.
"""

import csv
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from flowexpr.exceptions import some, warn
from flowexpr.faces.cropping import Crop, Cropper, Source
from flowexpr.faces.detectors import Detector, make_detector
from flowexpr.faces.face import Face
from flowexpr.faces.manifest import COLUMNS, DROPPED, MANIFEST, OK, Row, read_rows, to_csv, write_rows
from flowexpr.faces.plan import Unit, cut_into_units, each_once, place_boxes
from flowexpr.faces.preparation import MARGIN
from flowexpr.faces.tables import Fix, Key, Segment, name_of
from flowexpr.faces.tracking import CHOICES
from flowexpr.faces.video import is_video
from flowexpr.files import locked, write_atomically
from flowexpr.fingerprints import digest_of_function

__all__ = ["DESCRIPTION", "prepare_faces"]

DESCRIPTION = "prepare.json"
"""How a data set was made; a folder that holds it and no manifest is unfinished."""
ROWS, CROPS = ".rows", "faces"
PARTIAL = ".partial"
"""How the names of what is not finished end; they begin with a dot."""

FULL = (errno.ENOSPC, errno.EDQUOT)


def prepare_faces(
    sources: Sequence[Source | str],
    output: str | os.PathLike[str],
    *,
    segments: Sequence[Segment] | None = None,
    in_frames: bool = False,
    rate: float | None = None,
    detector: str | Detector = "cascade",
    boxes: dict[Key, Face] | None = None,
    person: str = "nearest",
    image_size: int | tuple[int, int] = 64,
    margin: float = MARGIN,
    fixes: dict[Key, Fix] | None = None,
    workers: int = 1,
    verbose: int = 0,
) -> list[Row]:
    """Find, align and cut out the faces of images and videos, and write them as a data set.

    Parameters
    ----------
    sources : sequence of Source or str
        Files: images and videos. One that is given more than once, by whatever path or link, is taken once, by the
        first.
    output : path-like
        Folder to write: new, empty, or one that an earlier run wrote. ``load_faces(output)`` reads it.
    segments : sequence of Segment, default=None
        Stretches of the videos that are wanted, with their labels; None takes all frames. A video is named by its
        path or its file name. A segment without a subject has its source's. Beside segments, an image without a
        label has a row, but no crop.
    in_frames : bool, default=False
        Whether segments begin and end at frames' numbers, from 0, instead of seconds from the start of the
        video, as its file gives it. The end itself is not included.
    rate : float, default=None
        Frames a second to take of a video, evenly from the beginning of a segment; None takes all.
    detector : str or callable, default="cascade"
        See `flowexpr.faces.detectors.make_detector`.
    boxes : dict, default=None
        Where faces are, instead of a detector (`read_boxes`). A file is named by its path, or by as much of its end as
        tells it from the others; names of no file are warned of.
    person : {"nearest", "largest", "central"}, default="nearest"
        Which of several faces is taken; "nearest" to where the person was last, and the largest where that is
        unknown.
    image_size : int or tuple (height, width), default=64
        Of the crops, pixels.
    margin : float, default=0.05
        Room around the face's square (brows to chin), as a share of its side. With ``detector="none"`` a picture is
        the crop, and only resized.
    fixes : dict, default=None
        What a person changed (`read_fixes`).
    workers : int, default=1
        Processes.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    rows : list of Row
        The manifest: one row for every file or frame asked for.

    Raises
    ------
    ValueError
        If a parameter is not what it must be, subjects are known of some segments only, a file is given again with
        another label, subject or clip, or the folder holds other things.
    OSError
        If the folder cannot be written, as when the disk is full; what was finished is kept. BlockingIOError if
        another run is at work in it.
    """
    sides = np.atleast_1d(image_size).tolist()
    _check(sides, margin, person, rate, workers)
    size = sides[0], sides[-1]
    if isinstance(sources, str | os.PathLike):
        sources = [sources]
    files = each_once([source if isinstance(source, Source) else Source(source) for source in sources])
    make_detector(detector)  # told before any work if there is no such one
    root = Path(output)
    placed = None if boxes is None else place_boxes(boxes, files)
    described = _describe_detector(detector)
    cropper = Cropper(detector, described, size, margin, person, rate, in_frames, placed, fixes or {})
    settings = {
        "detector": described,
        "image_size": list(size),
        "margin": margin,
        "person": person,
        "rate": rate,
        "in_frames": in_frames,
        "boxes": boxes is not None,
    }
    units, unmatched = cut_into_units(files, segments, settings, cropper)
    try:
        rows = _run(root, files, units, unmatched, settings, cropper, workers, verbose)
    except OSError as error:
        if error.errno in FULL:
            raise OSError(
                f"the disk of {root} is full. What is finished is kept: make room and run the same command again."
            ) from error
        raise
    _tell_of_idle(cropper.fixes, rows)
    return rows


def _run(
    root: Path,
    files: list[Source],
    units: list[Unit],
    unmatched: list[Row],
    settings: dict[str, Any],
    cropper: Cropper,
    workers: int,
    verbose: int,
) -> list[Row]:
    """Do what is left to do in the folder, which nobody else may write meanwhile; return the rows of its manifest."""
    root.mkdir(parents=True, exist_ok=True)
    with locked(root):
        _tell_of_replaced(root, files, cropper.fixes)
        _begin(root, settings)
        todo = [unit for unit in units if not _is_done(unit, root)]
        if todo:
            (root / MANIFEST).unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(PARTIAL, ".", root, ignore_cleanup_errors=True) as made:
            jobs = (delayed(_cut_unit)(unit, cropper, Path(made), os.getcwd()) for unit in todo)
            done = Parallel(n_jobs=workers, return_as="generator_unordered")(jobs)
            for unit in tqdm(done, total=len(todo), disable=not verbose, unit="file", desc="prepare"):
                _keep(unit, Path(made), root)
        return _finish(root, units, unmatched)


def _describe_detector(detector: str | os.PathLike[str] | Detector) -> str:
    """Return a detector's name; with a digest of the file of a network, and of what is known of a function."""
    if not callable(detector):
        file = Path(detector)
        if file.suffix.lower() != ".onnx":
            return str(detector)
        return f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"
    return f"callable {digest_of_function(detector, lenient=True)}"


def _check(sides: list[Any], margin: float, person: str, rate: float | None, workers: int) -> None:
    if len(sides) not in (1, 2) or not all(isinstance(side, int) and side > 0 for side in sides):
        raise ValueError(f"image_size={sides!r} was expected to be a positive integer, or (height, width).")
    if not 0 <= margin <= 2:
        raise ValueError(f"margin={margin!r} was expected to be a share of the face's side, 0 to 2.")
    if person not in CHOICES:
        raise ValueError(f"person={person!r} was expected to be one of {', '.join(CHOICES)}.")
    if rate is not None and not 0 < rate < float("inf"):
        raise ValueError(f"rate={rate!r} was expected to be frames a second, more than 0, or None.")
    if workers < 1:
        raise ValueError(f"workers={workers!r} was expected to be at least 1.")


def _tell_of_replaced(root: Path, files: list[Source], fixes: dict[Key, Fix]) -> None:
    """Warn where a folder holds crops of other inputs, or what a person changed, which this run takes away."""
    if not (root / MANIFEST).is_file() or not (root / DESCRIPTION).is_file():
        return
    with open(root / MANIFEST, newline="", encoding="utf-8", errors="replace") as file:
        rows = [{name: row.get(name) or "" for name in COLUMNS} for row in csv.DictReader(file)]
    paths = [name_of(source.path) for source in files]
    kept = {*paths, *map(os.path.realpath, paths), *(os.path.basename(path) for path in paths)}
    cropped = {row["source"] for row in rows if row["status"] == OK}
    # A relative path may be of another folder than this one: then its name has to do.
    places = {s: {s, os.path.realpath(s), *([] if os.path.isabs(s) else [os.path.basename(s)])} for s in cropped}
    gone = sorted(source for source, names in places.items() if not kept & names)
    if gone:
        warn(
            f"{root} held crops of {len(gone)} sources that are no inputs of this run, such as {gone[0]}: they are "
            "taken away. Pass all inputs at once, or another folder for each."
        )
    by_hand = sum("fixed" in row["flags"].split("; ") or row["status"] == DROPPED for row in rows)
    if by_hand and not fixes:
        warn(f"{by_hand} rows of {root} were changed by hand, which this run undoes. Pass the fixes again to keep it.")


def _tell_of_idle(fixes: dict[Key, Fix], rows: list[Row]) -> None:
    """Warn of fixes that are of no row, such as those of a frame that was not asked for."""
    made = {(row.source, int(row.frame) if row.frame else None) for row in rows}
    idle = [f"{source} frame {frame}" if frame is not None else source for source, frame in fixes.keys() - made]
    if idle:
        warn(f"{len(idle)} fixes are of nothing in the data set, and change nothing: {some(sorted(idle))}.")


def _begin(root: Path, settings: dict[str, Any]) -> None:
    """Clear away what a killed run left half-done; refuse a folder that holds anything else."""
    for partial in [*root.glob(f".*{PARTIAL}"), *root.glob(f"{ROWS}/.*{PARTIAL}")]:
        if partial.is_dir():
            shutil.rmtree(partial.rename(partial.with_suffix(f".gone{PARTIAL}")))  # its workers find it no more
        else:
            partial.unlink()
    if any(root.iterdir()) and not (root / DESCRIPTION).is_file():
        raise ValueError(
            f"-o {root} was expected to be a new folder or a data set that prepare wrote, but holds other things. "
            "Pass another folder."
        )
    write_atomically(root / DESCRIPTION, json.dumps(settings, indent=1).encode())
    (root / ROWS).mkdir(exist_ok=True)


def _cut_unit(unit: Unit, cropper: Cropper, made: Path, here: str) -> Unit:
    """Write a unit's crops and rows into a folder of the run's own, as they come; paths begin `here`."""
    os.chdir(here)  # joblib's workers stay where the first run that needed them was
    folder = f"{CROPS}/{unit.name}"
    (made / unit.name).mkdir()
    video = len(unit.sources) == 1 and is_video(unit.sources[0].path)
    if video and unit.segments is not None and not unit.segments:
        crops: Iterator[Crop] = iter(
            [(cropper.lost(Row(source=name_of(unit.sources[0].path)), "no segment of this video"), None)]
        )
    elif video:
        crops = cropper.of_video(unit.sources[0], unit.segments, folder)
    else:
        crops = cropper.of_images(unit.sources, folder)
    with open(made / f"{unit.name}.csv", "w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        write_rows(_written(crops, made / unit.name), file)
    return unit


def _written(crops: Iterator[Crop], folder: Path) -> Iterator[Row]:
    """Write crops, and return the row of each."""
    for row, png in crops:
        if png is not None:
            (folder / Path(row.path).name).write_bytes(png)
        yield row


def _is_done(unit: Unit, root: Path) -> bool:
    """Tell whether a unit has its rows, and all crops that they name."""
    if not (root / ROWS / unit.rows_name).is_file():
        return False
    with open(root / ROWS / unit.rows_name, newline="", encoding="utf-8") as file:
        return all(not row.path or (root / row.path).is_file() for row in read_rows(file))


def _keep(unit: Unit, made: Path, root: Path) -> None:
    """Move a unit's crops to their place, and then write its rows."""
    for old in (root / ROWS).glob(f"{unit.name}-*.csv"):  # rows of other settings, whose crops go now
        old.unlink()
    shutil.rmtree(root / CROPS / unit.name, ignore_errors=True)
    (root / CROPS).mkdir(exist_ok=True)
    (made / unit.name).rename(root / CROPS / unit.name)
    if hasattr(os, "sync"):
        os.sync()  # crops are on the disk before the rows that name them
    write_atomically(root / ROWS / unit.rows_name, (made / f"{unit.name}.csv").read_bytes())


def _finish(root: Path, units: list[Unit], unmatched: list[Row]) -> list[Row]:
    """Put all rows together, and take away what no unit made."""
    rows: list[Row] = []
    for unit in units:
        with open(root / ROWS / unit.rows_name, newline="", encoding="utf-8") as file:
            rows += read_rows(file)
    rows += unmatched
    content = to_csv(rows)
    manifest = root / MANIFEST
    if not manifest.is_file() or manifest.read_bytes() != content:
        manifest.unlink(missing_ok=True)
        wanted = {unit.rows_name for unit in units}
        for old in (root / ROWS).iterdir():
            if old.name not in wanted:
                old.unlink()
        names = {unit.name for unit in units}
        for folder in (root / CROPS).iterdir() if (root / CROPS).is_dir() else ():
            if folder.name not in names:
                shutil.rmtree(folder)
        write_atomically(manifest, content)
    return rows
