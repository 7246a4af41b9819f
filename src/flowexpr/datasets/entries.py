"""Which files a data set consists of, and what is known of each: by a manifest, a layout, patterns or folders."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from flowexpr.datasets.layouts import LAYOUTS, Layout, named_by
from flowexpr.exceptions import some, warn
from flowexpr.faces import find_images
from flowexpr.faces.dataset import DESCRIPTION
from flowexpr.faces.manifest import MANIFEST, OK
from flowexpr.faces.reading import describe_other_files
from flowexpr.faces.tables import read_table, whole_number
from flowexpr.faces.video import is_video

__all__ = ["Entry", "describe_files", "find_entries"]


@dataclass(frozen=True)
class Entry:
    """One image to read, and what is known of it."""

    path: Path
    label: str
    subject: str | None = None
    clip: str | None = None
    frame: int | None = None


def find_entries(
    root: Path, patterns: dict[str, str | None], layout: str | Layout | None
) -> tuple[list[Entry], list[tuple[str, str]]]:
    """Return what is to be read, and the rows of a prepared data set that have no image, with the reason.

    Parameters
    ----------
    root : Path
        A folder, or a manifest.
    patterns : dict
        Regular expressions of label, subject and clip; see `load_faces`.
    layout : str, callable or None
        See `load_faces`.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or file.
    ValueError
        If a name, a pattern, a row or the layout is wrong; the message names the files.
    """
    compiled = {name: _compiled(name, text) for name, text in patterns.items() if text is not None}
    if not root.exists():
        raise FileNotFoundError(f"expected a folder of images or a manifest at {root}, found none.")
    manifest = root / MANIFEST if root.is_dir() else root
    if layout == "manifest" or (layout is None and manifest.is_file()):
        return _of_manifest(manifest, compiled)
    if not root.is_dir():
        raise ValueError(f"layout={layout!r} was expected to come with a folder, but {root} is a file.")
    if (root / DESCRIPTION).is_file() and manifest.is_file():
        raise ValueError(
            f"layout={layout!r} was expected to come with files as they were recorded, but {root} is a data set that "
            "flowexpr prepare wrote, whose manifest holds the labels. Leave layout out."
        )
    if (root / DESCRIPTION).is_file():
        raise ValueError(
            f"{root} is a data set whose preparation was not finished. Run the same flowexpr prepare again; it goes on."
        )
    return _of_folder(root, compiled, layout), []


def _of_manifest(manifest: Path, patterns: dict[str, re.Pattern[str]]) -> tuple[list[Entry], list[tuple[str, str]]]:
    if not manifest.is_file():
        raise FileNotFoundError(f"expected a manifest at {manifest}, found none.")
    base, lines = manifest.parent, read_table(manifest, ("path",), "a manifest")
    failed = [(row.get("source") or row["path"], row["status"]) for _, row in lines if not _has_image(row)]
    lines = [(number, row) for number, row in lines if _has_image(row)]
    nameless = [f"line {number} ({', '.join(filter(None, row.values()))})" for number, row in lines if not row["path"]]
    if nameless:
        raise ValueError(
            f"{manifest} has no path in {len(nameless)} rows: {some(nameless)}. Fill them in, or remove them."
        )
    rows = [{**row, "path": _with_slashes(row["path"], base)} for _, row in lines]
    if not rows:
        named = some([f"{path} ({reason})" for path, reason in failed])
        raise ValueError(f"{manifest} has no row with an image: {named}.")
    _check_inside(rows, manifest)
    listed = Counter((row["path"], row.get("frame")) for row in rows)
    if len(listed) < len(rows):
        twice = some([path for (path, _), count in listed.items() if count > 1])
        warn(f"{len(rows) - len(listed)} of {len(rows)} rows of {manifest} name a file again: {twice}.")
    return _entries(rows, [base / row["path"] for row in rows], base, patterns, "label" in rows[0]), failed


def _has_image(row: dict[str, str]) -> bool:
    return (row.get("status") or OK).lower() == OK


def _with_slashes(path: str, base: Path) -> str:
    """Return a path that was written on Windows as this system has it."""
    return path.replace("\\", "/") if "\\" in path and not (base / path).exists() else path


def _check_inside(rows: list[dict[str, str]], manifest: Path) -> None:
    """Refuse paths that leave the manifest's folder: whoever sends a manifest must not choose what else is read."""
    base = manifest.parent.resolve()
    outside = [row["path"] for row in rows if not (base / row["path"]).resolve().is_relative_to(base)]
    if outside:
        raise ValueError(
            f"path was expected to lie in the folder of {manifest}, but {len(outside)} of {len(rows)} do not: "
            f"{some(outside)}. Move the images, or the manifest, so that all paths lie below it."
        )


def _of_folder(root: Path, patterns: dict[str, re.Pattern[str]], layout: str | Layout | None) -> list[Entry]:
    paths = find_images(root)
    if not paths:
        others = describe_other_files(root)
        raise ValueError(f"no image was found in {root} or its sub-folders{others}. Pass a folder of image files.")
    if layout is None or layout == "folder":
        return _entries([{} for _ in paths], paths, root, patterns, False)
    return _entries(_named(paths, root, layout), paths, root, patterns, True)


def describe_files(
    paths: list[Path], base: Path, patterns: dict[str, str | None], layout: str | Layout | None
) -> list[Entry]:
    """Return what is known of files that need no label yet: by patterns and, where there is one, by a layout.

    Parameters
    ----------
    paths : list of Path
        The files, below `base`.
    base : Path
        Where folders' names begin to be labels.
    patterns, layout
        As in `find_entries`, but that without a layout folders tell no labels. All files must have a layout's names;
        "folder" tells the labels of images only.
    """
    compiled = {name: _compiled(name, text) for name, text in patterns.items() if text is not None}
    if layout is None:
        rows: list[dict[str, str]] = [{} for _ in paths]
    elif layout == "folder":
        rows = [{"label": "" if path.parent == base or is_video(path) else path.parent.name} for path in paths]
    else:
        rows = _named(paths, base, layout)
    columns = {name: _found(name, pattern, paths, base) for name, pattern in compiled.items()}
    for name, values in columns.items():
        rows = [{**row, name: value or ""} for row, value in zip(rows, values, strict=True)]
    return [
        Entry(path, row.get("label", ""), row.get("subject"), row.get("clip"))
        for path, row in zip(paths, rows, strict=True)
    ]


def _named(paths: list[Path], root: Path, layout: str | Layout) -> list[dict[str, str]]:
    """Return what a layout reads in the names; refuse names that it does not know."""
    reader = layout if callable(layout) else LAYOUTS.get(layout)
    if reader is None:
        raise ValueError(
            f"layout={layout!r} was expected to be one of {', '.join([*LAYOUTS, 'folder', 'manifest'])}, or a callable."
        )
    below = [PurePosixPath(path.relative_to(root).as_posix()) for path in paths]
    rows = [named_by(reader, path) for path in below]
    wrong = [str(path) for path, row in zip(below, rows, strict=True) if row is None]
    if wrong:
        raise ValueError(
            f"layout={layout!r} was expected to name every file, but {len(wrong)} of {len(paths)} have other names: "
            f"{some(wrong)}. Rename them, move them away, or pass label, subject and clip as patterns instead."
        )
    return [row or {} for row in rows]


def _entries(
    rows: list[dict[str, str]], paths: list[Path], base: Path, patterns: dict[str, re.Pattern[str]], labelled: bool
) -> list[Entry]:
    """Put together what the rows hold and what the patterns find; patterns come first."""
    columns: dict[str, Sequence[str | None]] = {
        name: _found(name, pattern, paths, base) for name, pattern in patterns.items()
    }
    if "label" not in columns:
        columns["label"] = _labels(rows, paths, base, labelled)
    values = {name: columns.get(name, [row.get(name) or None for row in rows]) for name in ("label", "subject", "clip")}
    return [
        Entry(path, label or "", subject, clip, _frame(row, path))
        for row, path, label, subject, clip in zip(rows, paths, *values.values(), strict=True)
    ]


def _compiled(name: str, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"{name}={text!r} is no regular expression: {error}.") from error


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
            f"{len(paths)}: {some(missing)}. Change the pattern (one with a slash is searched in the path below the "
            "folder), or move those files away."
        )
    return values


def _labels(rows: list[dict[str, str]], paths: list[Path], base: Path, labelled: bool) -> list[str | None]:
    """Return the label of every file from the manifest's column, or from the folder that the file lies in."""
    if labelled:
        missing = [path.name for row, path in zip(rows, paths, strict=True) if not row["label"]]
        remedy = "Fill them in, or remove the rows."
        labels: list[str | None] = [row["label"] for row in rows]
    else:
        missing = [path.name for path in paths if path.parent == base]
        remedy = "Sort the files into a sub-folder for each expression, or pass label, a pattern for their names."
        labels = [path.parent.name for path in paths]
    if missing:
        raise ValueError(f"no label is known for {len(missing)} of {len(paths)} files: {some(missing)}. {remedy}")
    return labels


def _frame(row: dict[str, str], path: Path) -> int | None:
    text = row.get("frame")
    try:
        return whole_number(text) if text else None
    except ValueError as error:
        raise ValueError(f"frame was expected to be an integer, but is {text!r} for {path}.") from error
