"""load_faces: a folder of image files, or a table that names them, as arrays with their labels and subjects."""

import json
import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.utils import Bunch
from tqdm import tqdm

from flowexpr.datasets.entries import Entry, find_entries
from flowexpr.datasets.layouts import Layout
from flowexpr.exceptions import UnreadableImageError, some, warn
from flowexpr.faces import FacePreparation
from flowexpr.faces.dataset import DESCRIPTION
from flowexpr.faces.reading import refuse_pipe

__all__ = ["load_faces"]

AUTO_SIZE = 64
"""Side that image_size="auto" resizes to: the paper's."""


def load_faces(
    folder_or_manifest: str | os.PathLike[str],
    *,
    layout: str | Layout | None = None,
    label: str | None = None,
    subject: str | None = None,
    clip: str | None = None,
    classes: Sequence[str] | None = None,
    image_size: int | tuple[int, int] | str | None = None,
    grey: bool | None = None,
    crop: str | tuple[float, float, float, float] | None = None,
    skip_unreadable: bool = False,
    memmap: str | os.PathLike[str] | None = None,
    verbose: int = 0,
) -> Bunch:
    r"""Load face images with their expressions, subjects and clips.

    Parameters
    ----------
    folder_or_manifest : path-like
        A folder, searched with its sub-folders; or a CSV file with the columns ``path`` (relative to the file),
        ``label`` and, as far as they are known, ``subject``, ``clip`` and ``frame``. A folder that holds a
        ``manifest.csv`` is read by it. Rows with a ``status`` other than "ok", as ``flowexpr prepare`` writes them,
        have no image and are left out.
    layout : {"ck+48", "jaffe", "kdef", "folder", "manifest"} or callable, default=None
        How files are named. The first three are the data sets' own ways; "folder" takes labels from folders even
        where there is a manifest (but ``flowexpr prepare``'s); a callable gets each path below the folder and returns a
        dict of label and, where known, subject, clip and frame, or None for a name that is not of the data set. Names
        that do not fit are listed in an error. None is "manifest" where there is one, else "folder".
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
    crop : "face", sequence (left, top, right, bottom) or None, default=None
        "face" cuts out the largest face found (extra ``[faces]``); four numbers are a box in shares
        of width and height.
    skip_unreadable : bool, default=False
        Leave out files that cannot be read and name them in ``skipped``, instead of raising.
    memmap : path-like, default=None
        An ``.npy`` file to write the images into, for more of them than memory holds: ``images`` is then a read-only
        memory map of it, which training and prediction read a batch at a time. Images in a file of that name are
        replaced.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    faces : Bunch
        As `make_faces` returns it: ``images`` (n, H, W, C) uint8, C being 1 or 3; ``target`` (n,) int, an index into
        ``target_names``, the sorted labels; ``subject`` and ``clip`` (n,) str, None where they are unknown;
        ``frame`` (n,) int, the manifest's or else the place within the clip in the order of the files, None without
        clips. Besides: ``paths`` (n,) str; ``skipped``, a list of (path, reason), the rows of a manifest that have no
        image among them; ``preparation``, a dict of what was done to every image, or is to be done to a new picture
        where ``flowexpr prepare`` cut out the faces.

        A clip's name is unique only within its subject.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or file.
    ValueError
        If there is no image, a pattern does not match a file, a class is unknown, sizes differ, `memmap` does not end
        in ``.npy`` or is a file of something else, or (without `skip_unreadable`) a file cannot be read; the message
        names the files.

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
    file = None if memmap is None else Path(memmap)
    if file is not None and (file.suffix != ".npy" or not file.parent.is_dir()):
        raise ValueError(f"memmap={os.fspath(file)!r} was expected to be an .npy file in a folder that exists.")
    if file is not None and file.exists() and not _holds_images(file):
        raise ValueError(
            f"memmap={os.fspath(file)!r} would replace a file that holds something else than images. Name another "
            "file, or move it away."
        )
    found, failed = find_entries(root, {"label": label, "subject": subject, "clip": clip}, layout)
    entries = _of_classes(found, classes)
    if all(entry.label == entry.subject for entry in entries):
        raise ValueError(
            f"every label is the name of a subject, such as {entries[0].label}: the sub-folders of {root} are people. "
            "Pass label, a pattern for the expression: '^([^/]+)/' is the first folder of the path."
        )
    prepare = FacePreparation(_checked_size(image_size, crop, entries), grey, crop)
    images: list[NDArray[np.uint8]] | _Spool
    with nullcontext([]) if file is None else _Spool(file.parent) as images:
        kept, skipped = _read(entries, prepare, images, skip_unreadable, verbose)
        stacked = _stack(images, kept, root, file)
    target_names, target = np.unique([entry.label for entry in kept], return_inverse=True)
    _warn_of_cases(target_names.tolist())
    return Bunch(
        images=stacked,
        target=target,
        target_names=target_names,
        subject=_column(entry.subject for entry in kept),
        clip=_column(entry.clip for entry in kept),
        frame=_frames(kept),
        paths=np.array([str(entry.path) for entry in kept]),
        skipped=failed + skipped,
        preparation=_as_done(root, prepare, stacked).state(),
    )


def _as_done(root: Path, prepare: FacePreparation, images: NDArray[np.uint8]) -> FacePreparation:
    """Return what is to be done to a new picture so that it becomes like these."""
    size, grey = images.shape[1:3], images.shape[3] == 1
    described = (root if root.is_dir() else root.parent) / DESCRIPTION
    if prepare.crop is not None or not described.is_file():
        return FacePreparation(size, grey, prepare.crop)
    # The images are faces that `prepare_faces` cut out.
    made = json.loads(described.read_text(encoding="utf-8"))
    whole = made["detector"] == "none" and not made.get("boxes")
    return FacePreparation(size, grey, None if whole else "face", made["margin"])


def _of_classes(entries: list[Entry], classes: Sequence[str] | None) -> list[Entry]:
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


def _warn_of_cases(labels: list[str]) -> None:
    spellings: dict[str, list[str]] = {}
    for label in labels:
        spellings.setdefault(label.casefold(), []).append(label)
    several = [" and ".join(names) for names in spellings.values() if len(names) > 1]
    if several:
        warn(f"labels that differ in capitals alone are classes of their own: {', '.join(several)}.")


def _checked_size(
    image_size: int | tuple[int, int] | str | None, crop: object, entries: list[Entry]
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


def _all_small_and_alike(entries: list[Entry]) -> bool:
    """Tell whether the images, by their headers, have one even size of at most `AUTO_SIZE`."""
    sizes = set()
    for entry in entries:
        try:
            refuse_pipe(entry.path)
            with Image.open(entry.path) as image:
                sizes.add(image.size)
        except (OSError, SyntaxError, ValueError):
            continue  # told when it is read
        if len(sizes) > 1 or any(side > AUTO_SIZE or side % 2 for side in image.size):
            return False
    return True


class _Spool:
    """Images in a temporary file, of which memory holds one at a time."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed on leaving)
        self._shapes: list[tuple[int, ...]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, image: NDArray[np.uint8]) -> None:
        self._file.write(image.tobytes())
        self._shapes.append(image.shape)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        self._file.seek(0)
        for shape in self._shapes:
            yield np.frombuffer(self._file.read(math.prod(shape)), np.uint8).reshape(shape)


def _read(
    entries: list[Entry],
    prepare: FacePreparation,
    images: list[NDArray[np.uint8]] | _Spool,
    skip_unreadable: bool,
    verbose: int,
) -> tuple[list[Entry], list[tuple[str, str]]]:
    """Append what can be read to the images; return what was read, and what could not be and why."""
    kept, failed = [], []
    for entry in tqdm(entries, disable=not verbose, unit="image", desc="read"):
        try:
            images.append(prepare.read(entry.path))
            kept.append(entry)
        except UnreadableImageError as error:
            failed.append((str(entry.path), str(error)))
    if failed and not (skip_unreadable and kept):
        named = some([f"{path} ({reason})" for path, reason in failed])
        raise ValueError(
            f"{len(failed)} of {len(entries)} files cannot be read: {named}. Repair or remove them"
            + ("." if skip_unreadable else ", or leave them out with skip_unreadable=True (--skip-unreadable).")
        )
    return kept, failed


def _stack(
    images: list[NDArray[np.uint8]] | _Spool, kept: list[Entry], root: Path, file: Path | None
) -> NDArray[np.uint8]:
    """Return images as one array, in memory or of a file; grey ones among coloured ones get three channels."""
    shapes = [image.shape for image in images]
    sizes = Counter(shape[:2] for shape in shapes)
    if len(sizes) > 1:
        common, rare = sizes.most_common(1)[0][0], sizes.most_common()[-1][0]
        example = next(entry.path for entry, shape in zip(kept, shapes, strict=True) if shape[:2] == rare)
        raise ValueError(
            f"the images of {root} have {len(sizes)} sizes, mostly {common[0]} x {common[1]}, but {example} is "
            f"{rare[0]} x {rare[1]}. Pass image_size=64, say (--image-size 64)."
        )
    shape = (len(shapes), *shapes[0][:2], max(shape[2] for shape in shapes))
    if file is None:
        return _filled(np.empty(shape, dtype=np.uint8), images)
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        _filled(np.lib.format.open_memmap(partial, "w+", np.uint8, shape), images).flush()
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    stacked: NDArray[np.uint8] = np.load(file, mmap_mode="r")
    return stacked


def _holds_images(file: Path) -> bool:
    """Tell whether a file is of the kind that `_stack` writes."""
    try:
        held = np.lib.format.open_memmap(file, mode="r")
    except (OSError, ValueError):
        return False
    return held.ndim == 4 and held.dtype == np.uint8


def _filled(stacked: Any, images: Iterable[NDArray[np.uint8]]) -> Any:
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


def _frames(kept: list[Entry]) -> NDArray[np.int64] | None:
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
