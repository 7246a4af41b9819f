"""What `prepare_faces` has to do: which files and segments, by which names, cut into units that are done as a whole."""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from flowexpr.exceptions import some, warn
from flowexpr.faces.cropping import Cropper, Source
from flowexpr.faces.face import Face
from flowexpr.faces.manifest import Row
from flowexpr.faces.tables import Fix, Key, Segment, name_of
from flowexpr.faces.video import is_video

__all__ = ["FileNames", "Unit", "cut_into_units", "each_once", "place_boxes"]


IMAGES_OF_A_UNIT = 64


@dataclass(frozen=True)
class Unit:
    """A piece of work that is done as a whole."""

    name: str
    sources: list[Source]
    segments: list[Segment] | None
    checksum: str

    @property
    def rows_name(self) -> str:
        """Name of the file of the unit's rows, which holds all that they depend on."""
        return f"{self.name}-{self.checksum}.csv"


def each_once(files: list[Source]) -> list[Source]:
    """Return every file once, by its first path, with what is known of it by any."""
    once: dict[str, Source] = {}
    for source in files:
        place = os.path.realpath(source.path)
        once[place] = _joined(once.get(place, source), source)
    return list(once.values())


def _joined(first: Source, again: Source) -> Source:
    known = {}
    for kind in ("label", "subject", "clip"):
        told = {name for name in (getattr(first, kind), getattr(again, kind)) if name}
        if len(told) > 1:
            raise ValueError(
                f"{name_of(again.path)} was expected to be given once, but is the same file as "
                f"{name_of(first.path)} with another {kind} ({getattr(again, kind)} instead of {getattr(first, kind)})."
                " Leave one of them out."
            )
        known[kind] = "".join(told)
    return replace(first, **known)


def cut_into_units(
    files: list[Source], segments: Sequence[Segment] | None, settings: dict[str, Any], cropper: Cropper
) -> tuple[list[Unit], list[Row]]:
    """Cut the work into units; segments without their video, and images without a label beside them, become rows."""
    of_video: dict[str, list[Segment]] = defaultdict(list)
    strangers: list[Segment] = []
    videos = FileNames([source for source in files if is_video(source.path)])
    for segment in segments or ():
        video = videos.find(segment.video, "segments name the video")
        (strangers if video is None else of_video[video]).append(segment)
    plan, unnamed = _plan(files, None if segments is None else of_video, cropper.fixes)
    if segments is not None:
        _check_known(plan)
    if cropper.fixes:
        _check_fixes(cropper.fixes, files, segments or ())
    units = [
        Unit(f"{i:05d}", sources, own, _checksum(sources, own, settings, cropper))
        for i, (sources, own) in enumerate(plan)
    ]
    unmatched = [
        cropper.lost(Row("", s.label, s.subject, s.clip, source=s.video), "no such video among the inputs")
        for s in strangers
    ]
    unmatched += [
        cropper.lost(Row("", "", s.subject, s.clip, source=name_of(s.path)), "no segment names it, and it has no label")
        for s in unnamed
    ]
    return units, unmatched


def _plan(
    files: list[Source], of_video: dict[str, list[Segment]] | None, fixes: dict[Key, Fix]
) -> tuple[list[tuple[list[Source], list[Segment] | None]], list[Source]]:
    """Return what is done together, with its segments where there are any; and images without a label beside those."""
    plan: list[tuple[list[Source], list[Segment] | None]] = []
    unnamed: list[Source] = []
    for source in files:
        if is_video(source.path):
            plan.append(([source], None if of_video is None else of_video[name_of(source.path)]))
            continue
        label = source.label or fixes.get((name_of(source.path), None), Fix()).label
        if of_video is not None and not label and not os.path.isdir(source.path):
            unnamed.append(source)
            continue
        last = plan[-1][0] if plan else []
        if last and not is_video(last[0].path) and len(last) < IMAGES_OF_A_UNIT:
            last.append(source)
        else:
            plan.append(([source], None))
    return plan, unnamed


class FileNames:
    """Files by what a table may call them: the whole path, or a part of it that ends in the name.

    Parameters
    ----------
    files : list of Source
        The files.
    """

    def __init__(self, files: list[Source]):
        self._whole: dict[str, str] = {}
        self._by_ending: dict[str, list[str]] = defaultdict(list)
        for source in files:
            name = name_of(source.path)
            parts = Path(name).as_posix().split("/")
            self._whole[Path(name).as_posix()] = name
            for i in range(1, len(parts)):
                self._by_ending["/".join(parts[i:])].append(name)

    def find(self, called: str, told: str) -> str | None:
        """Return the name of the file that a table means, or None; raise a ValueError where it may be several."""
        for written in (called, called.replace("\\", "/")):  # as Windows writes them
            place = Path(written).as_posix()
            found = [self._whole[place]] if place in self._whole else self._by_ending.get(place, [])
            if found:
                break
        if len(found) > 1:
            raise ValueError(
                f"{told} {called}, which was expected to be one of the inputs, but may be any of "
                f"{some(found)}. Write as much of its path as tells them apart."
            )
        return found[0] if found else None


def place_boxes(boxes: dict[Key, Face], files: list[Source]) -> dict[Key, Face]:
    """Return the boxes by the whole path of the file that each is of."""
    named = FileNames(files)
    of = {name: named.find(name, "boxes name") for name in dict.fromkeys(name for name, _ in boxes)}
    strangers = [name for name, path in of.items() if path is None]
    if strangers:
        warn(f"boxes name {len(strangers)} files that are no inputs: {some(strangers)}.")
    return {(path, frame): face for (name, frame), face in boxes.items() if (path := of[name]) is not None}


def _check_known(plan: list[tuple[list[Source], list[Segment] | None]]) -> None:
    """Refuse subjects or clips that are known of some crops only: no data set could be read of them."""
    known: list[tuple[str, dict[str, str]]] = []
    for sources, own in plan:
        if own is None:
            files = [source for source in sources if not os.path.isdir(source.path)]
            known += [(name_of(source.path), {"subject": source.subject, "clip": source.clip}) for source in files]
        for s in own or []:
            of_segment = {"subject": s.subject or sources[0].subject, "clip": s.clip}
            known.append((f"{s.video} from {s.start:g} to {s.end:g}", of_segment))
    for kind in ("subject", "clip"):
        missing = [name for name, told in known if not told[kind]]
        if 0 < len(missing) < len(known):
            raise ValueError(
                f"{kind} was expected for all that is labelled or for none, but {len(missing)} of {len(known)} have "
                f"none: {some(missing)}. Fill in the table of segments, or pass {kind} for the files "
                f"(--{kind})."
            )


def _check_fixes(fixes: dict[Key, Fix], files: list[Source], segments: Sequence[Segment]) -> None:
    known = {name_of(source.path) for source in files} | {segment.video for segment in segments}
    unknown = sorted({source for source, _ in fixes} - known)
    if unknown:
        raise ValueError(
            f"fixes were expected to be of the inputs, but {len(unknown)} sources are none: {some(unknown)}. "
            "Pass the same inputs as when the review was written."
        )


def _checksum(sources: list[Source], segments: list[Segment] | None, settings: dict[str, Any], cropper: Cropper) -> str:
    """Return a short name of everything that a unit's result depends on."""
    names = {name_of(source.path) for source in sources}
    names |= {Path(name).name for name in names}
    content = {
        "settings": settings,
        "sources": [(name_of(s.path), s.label, s.subject, s.clip, _stamp(s.path)) for s in sources],
        "segments": None if segments is None else [asdict(segment) for segment in segments],
        "boxes": None
        if cropper.boxes is None
        else [(key, asdict(face)) for key, face in cropper.boxes.items() if key[0] in names],
        "fixes": sorted((str(key), asdict(fix)) for key, fix in cropper.fixes.items() if key[0] in names),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
