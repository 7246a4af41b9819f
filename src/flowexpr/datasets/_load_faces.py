"""load_faces: a folder of image files, or a table that names them, as arrays with their labels and subjects."""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.utils import Bunch
from tqdm import tqdm

from flowexpr.exceptions import UnreadableImageError
from flowexpr.faces import FacePreparation, find_images

__all__ = ["load_faces"]

MANIFEST = "manifest.csv"
AUTO_SIZE = 64
"""Side that image_size="auto" resizes to: the paper's."""
SHOWN = 5
"""Files that an error message names, at most."""


@dataclass(frozen=True)
class _Entry:
    """One image to read, and what is known of it."""

    path: Path
    label: str
    subject: str | None = None
    clip: str | None = None
    frame: int | None = None


def load_faces(
    folder_or_manifest: str | os.PathLike[str],
    *,
    label: str | None = None,
    subject: str | None = None,
    clip: str | None = None,
    classes: Sequence[str] | None = None,
    image_size: int | tuple[int, int] | str | None = None,
    grey: bool | None = None,
    crop: str | tuple[float, float, float, float] | None = None,
    skip_unreadable: bool = False,
    verbose: int = 0,
) -> Bunch:
    r"""Load face images with their expressions, subjects and clips.

    Parameters
    ----------
    folder_or_manifest : path-like
        A folder, searched with its sub-folders; or a CSV file with the columns ``path`` (relative to the file),
        ``label`` and, as far as they are known, ``subject``, ``clip`` and ``frame``. A folder that holds a
        ``manifest.csv`` is read by it.
    label, subject, clip : str, default=None
        Regular expressions searched in the file name, or in the path below the folder if they hold a slash; the
        first group counts, or the whole match where there is none. Without `label` the expression is the manifest's
        or the name of the file's folder; without the others the manifest's, or unknown.
    classes : sequence of str, default=None
        The labels to keep; None keeps all.
    image_size : int, tuple (height, width), "auto" or None, default=None
        Size in pixels; an image of other proportions is cropped evenly, never stretched. None takes images as they
        come, all of one size. "auto" does so where that size is even and at most 64, and makes them 64 x 64
        otherwise.
    grey : bool, default=None
        One channel or three; None is grey where every image is.
    crop : "face", tuple (left, top, right, bottom) or None, default=None
        "face" cuts out the largest face found (extra ``[faces]``); a tuple is a box in shares of width and height.
    skip_unreadable : bool, default=False
        Leave out files that cannot be read and name them in ``skipped``, instead of raising.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    faces : Bunch
        As `make_faces` returns it: ``images`` (n, H, W, C) uint8, C being 1 or 3; ``target`` (n,) int, an index into
        ``target_names``, the sorted labels; ``subject`` and ``clip`` (n,) str, None where they are unknown;
        ``frame`` (n,) int, the manifest's or else the place within the clip in the order of the files, None without
        clips. Besides: ``paths`` (n,) str; ``skipped``, a list of (path, reason); ``preparation``, a dict of what was
        done to every image.

        A clip's name is unique only within its subject.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or file.
    ValueError
        If there is no image, a pattern does not match a file, a class is unknown, sizes differ, or (without
        `skip_unreadable`) a file cannot be read; the message names the files.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from flowexpr.datasets import load_faces
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("happy/S01_1.png", "happy/S02_1.png", "sad/S01_2.png"):
    ...         path = Path(folder, name)
    ...         path.parent.mkdir(exist_ok=True)
    ...         Image.new("L", (16, 16)).save(path)
    ...     faces = load_faces(folder, subject=r"^(S\d+)")
    >>> faces.images.shape, faces.target.tolist(), faces.subject.tolist()
    ((3, 16, 16, 1), [0, 0, 1], ['S01', 'S02', 'S01'])
    """
    root = Path(folder_or_manifest)
    patterns = {name: _compiled(name, text) for name, text in (("label", label), ("subject", subject), ("clip", clip))}
    entries = _of_classes(_entries(root, patterns), classes)
    if all(entry.label == entry.subject for entry in entries):
        raise ValueError(
            f"every label is the name of a subject, such as {entries[0].label}: the sub-folders of {root} are people. "
            "Pass label, a pattern for the expression: '^([^/]+)/' is the first folder of the path."
        )
    prepare = FacePreparation(_checked_size(image_size, crop, entries), grey, crop)
    images, kept, skipped = _read(entries, prepare, skip_unreadable, verbose)
    target_names, target = np.unique([entry.label for entry in kept], return_inverse=True)
    stacked = _stack(images, kept, root)
    return Bunch(
        images=stacked,
        target=target,
        target_names=target_names,
        subject=_column(entry.subject for entry in kept),
        clip=_column(entry.clip for entry in kept),
        frame=_frames(kept),
        paths=np.array([str(entry.path) for entry in kept]),
        skipped=skipped,
        preparation=FacePreparation(stacked.shape[1:3], stacked.shape[3] == 1, prepare.crop).state(),
    )


def _compiled(name: str, text: str | None) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise ValueError(f"{name}={text!r} is no regular expression: {error}.") from error


def _entries(root: Path, patterns: dict[str, re.Pattern[str] | None]) -> list[_Entry]:
    """Return what is to be read, from a manifest or from a folder, with what the patterns find in its names."""
    if not root.exists():
        raise FileNotFoundError(f"expected a folder of images or a manifest at {root}, found none.")
    manifest = root / MANIFEST if root.is_dir() else root
    if manifest.is_file():
        base, rows = manifest.parent, _manifest_rows(manifest)
        paths = [base / row["path"] for row in rows]
    else:
        base, paths = root, find_images(root)
        rows = [{} for _ in paths]
        if not paths:
            raise ValueError(f"no image was found in {root} or its sub-folders. Pass a folder of image files.")
    columns = {name: _found(name, pattern, paths, base) for name, pattern in patterns.items() if pattern is not None}
    if "label" not in columns:
        columns["label"] = _labels(rows, paths, base, manifest.is_file())
    values = {name: columns.get(name, [row.get(name) or None for row in rows]) for name in ("label", "subject", "clip")}
    return [
        _Entry(path, label or "", subject, clip, _frame(row, path))
        for row, path, label, subject, clip in zip(rows, paths, *values.values(), strict=True)
    ]


def _manifest_rows(manifest: Path) -> list[dict[str, str]]:
    try:
        with open(manifest, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            names = [name.strip() for name in reader.fieldnames or []]
            rows = [dict(zip(names, map(_stripped, row.values()), strict=False)) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"{manifest} was expected to be a manifest, a CSV file in UTF-8, but cannot be read as one ({error}). Save "
            "it as UTF-8 with commas between the columns path, label and, where known, subject and clip."
        ) from error
    if "path" not in names or not rows:
        raise ValueError(
            f"{manifest} was expected to hold a header with the column path (and label, subject, clip), commas between "
            f"columns, and a row an image, but has the columns {', '.join(names) or 'none'} and {len(rows)} rows."
        )
    return rows


def _stripped(cell: Any) -> str:
    return cell.strip() if isinstance(cell, str) else ""


def _found(name: str, pattern: re.Pattern[str], paths: list[Path], base: Path) -> list[str | None]:
    """Return what a pattern finds in the name of every file."""
    in_path = "/" in pattern.pattern
    values: list[str | None] = []
    missing = []
    for path in paths:
        text = path.relative_to(base).as_posix() if in_path and path.is_relative_to(base) else path.name
        match = pattern.search(text)
        value = match and match[1 if pattern.groups else 0]
        if not value:
            missing.append(text)
        values.append(value)
    if missing:
        raise ValueError(
            f"{name}={pattern.pattern!r} was expected to match every file, but finds nothing in {len(missing)} of "
            f"{len(paths)}: {_some(missing)}. Change the pattern (one with a slash is searched in the path below the "
            "folder), or move those files away."
        )
    return values


def _labels(rows: list[dict[str, str]], paths: list[Path], base: Path, from_manifest: bool) -> list[str | None]:
    """Return the label of every file from the manifest's column, or from the folder that the file lies in."""
    if from_manifest and "label" in rows[0]:
        missing = [row["path"] for row in rows if not row["label"]]
        remedy = "Fill them in, or remove the rows."
        labels: list[str | None] = [row["label"] for row in rows]
    else:
        missing = [path.name for path in paths if path.parent == base]
        remedy = "Sort the files into a sub-folder for each expression, or pass label, a pattern for their names."
        labels = [path.parent.name for path in paths]
    if missing:
        raise ValueError(f"no label is known for {len(missing)} of {len(paths)} files: {_some(missing)}. {remedy}")
    return labels


def _frame(row: dict[str, str], path: Path) -> int | None:
    text = row.get("frame")
    try:
        return int(text) if text else None
    except ValueError as error:
        raise ValueError(f"frame was expected to be an integer, but is {text!r} for {path}.") from error


def _of_classes(entries: list[_Entry], classes: Sequence[str] | None) -> list[_Entry]:
    if classes is None:
        return entries
    wanted = [classes] if isinstance(classes, str) else list(classes)
    counts = Counter(entry.label for entry in entries)
    unknown = [name for name in wanted if name not in counts]
    if unknown or not wanted:
        raise ValueError(
            f"classes={wanted} was expected to hold labels of the files, which are "
            f"{', '.join(f'{name} ({n})' for name, n in sorted(counts.items()))}"
            + (f"; not found: {', '.join(unknown)}." if unknown else ".")
        )
    return [entry for entry in entries if entry.label in wanted]


def _checked_size(
    image_size: int | tuple[int, int] | str | None, crop: object, entries: list[_Entry]
) -> tuple[int, int] | None:
    if image_size == "auto":
        return None if crop is None and _all_small_and_alike(entries) else (AUTO_SIZE, AUTO_SIZE)
    if image_size is None:
        return None
    if isinstance(image_size, tuple | list):
        return tuple(image_size)  # type: ignore[return-value]
    if not isinstance(image_size, int | np.integer) or image_size < 1:
        raise ValueError(
            f"image_size={image_size!r} was expected to be a positive integer, (height, width), 'auto' or None."
        )
    return int(image_size), int(image_size)


def _all_small_and_alike(entries: list[_Entry]) -> bool:
    """Tell whether the images, by their headers, have one even size of at most `AUTO_SIZE`."""
    sizes = set()
    for entry in entries:
        try:
            with Image.open(entry.path) as image:
                sizes.add(image.size)
        except (OSError, SyntaxError, ValueError):
            continue  # told when it is read
        if len(sizes) > 1 or any(side > AUTO_SIZE or side % 2 for side in image.size):
            return False
    return True


def _read(
    entries: list[_Entry], prepare: FacePreparation, skip_unreadable: bool, verbose: int
) -> tuple[list[NDArray[np.uint8]], list[_Entry], list[tuple[str, str]]]:
    images, kept, failed = [], [], []
    for entry in tqdm(entries, disable=not verbose, unit="image", desc="read"):
        try:
            images.append(prepare.read(entry.path))
            kept.append(entry)
        except UnreadableImageError as error:
            failed.append((str(entry.path), str(error)))
    if failed and not (skip_unreadable and kept):
        named = _some([f"{path} ({reason})" for path, reason in failed])
        raise ValueError(
            f"{len(failed)} of {len(entries)} files cannot be read: {named}. Repair or remove them"
            + ("." if skip_unreadable else ", or leave them out with skip_unreadable=True (--skip-unreadable).")
        )
    return images, kept, failed


def _stack(images: list[NDArray[np.uint8]], kept: list[_Entry], root: Path) -> NDArray[np.uint8]:
    """Return images as one array; grey ones among coloured ones get three channels."""
    sizes = Counter(image.shape[:2] for image in images)
    if len(sizes) > 1:
        common, rare = sizes.most_common(1)[0][0], sizes.most_common()[-1][0]
        example = next(entry.path for entry, image in zip(kept, images, strict=True) if image.shape[:2] == rare)
        raise ValueError(
            f"the images of {root} have {len(sizes)} sizes, mostly {common[0]} x {common[1]}, but {example} is "
            f"{rare[0]} x {rare[1]}. Pass image_size=64, say (--image-size 64)."
        )
    channels = max(image.shape[2] for image in images)
    stacked = np.empty((len(images), *images[0].shape[:2], channels), dtype=np.uint8)
    for place, image in zip(stacked, images, strict=True):
        place[:] = image
    return stacked


def _column(values: Iterable[str | None]) -> NDArray[np.str_] | None:
    """Return a column as an array; None where nothing is known of any row."""
    known = list(values)
    if all(value is None for value in known):
        return None
    if any(value is None for value in known):
        raise ValueError("subject and clip were expected for every row of the manifest or for none. Fill in the gaps.")
    return np.array(known)


def _frames(kept: list[_Entry]) -> NDArray[np.int64] | None:
    if all(entry.frame is not None for entry in kept):
        return np.array([entry.frame for entry in kept])
    if any(entry.clip is None for entry in kept):
        return None
    counts: Counter[tuple[str | None, str | None]] = Counter()
    places = []
    for entry in kept:
        places.append(counts[entry.subject, entry.clip])
        counts[entry.subject, entry.clip] += 1
    return np.array(places)


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
