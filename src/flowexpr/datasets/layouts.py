"""How well-known data sets name their files: label, subject, clip and frame of a path below the folder."""

import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

__all__ = ["LAYOUTS", "Layout", "named_by"]

Layout = Callable[[PurePosixPath], Mapping[str, object] | None]
"""Takes a path below the folder; returns label and, where known, subject, clip and frame; None for a wrong name."""

JAFFE_CODES = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}
KDEF_CODES = {"AF": "fear"} | {code: name for code, name in JAFFE_CODES.items() if code != "FE"}
CK_LABELS = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sadness", "surprise")


def _ck48(path: PurePosixPath) -> Mapping[str, object] | None:
    """Read anger/S010_004_00000017.png: subject, sequence, frame."""
    match = re.fullmatch(r"((S\d{3})_\d{3})_(\d{8})", path.stem)
    label = path.parent.name.lower()
    if match is None or label not in CK_LABELS:
        return None
    return {"label": label, "subject": match[2], "clip": match[1], "frame": int(match[3])}


def _jaffe(path: PurePosixPath) -> Mapping[str, object] | None:
    """Read KA.AN1.39.tiff: subject, expression and its number, number of the photograph."""
    match = re.fullmatch(r"([A-Z]{2})\.([A-Z]{2})\d\.\d{1,3}", path.stem)
    if match is None or match[2] not in JAFFE_CODES:
        return None
    return {"label": JAFFE_CODES[match[2]], "subject": match[1]}


def _kdef(path: PurePosixPath) -> Mapping[str, object] | None:
    """Read AF01ANS.JPG: session, sex and number of the subject, expression, angle; a clip is the angles of one."""
    match = re.fullmatch(r"([AB]([FM]\d{2})([A-Z]{2}))(FL|HL|S|HR|FR)", path.stem.upper())
    if match is None or match[3] not in KDEF_CODES:
        return None
    return {"label": KDEF_CODES[match[3]], "subject": match[2], "clip": match[1]}


LAYOUTS: dict[str, Layout] = {"ck+48": _ck48, "jaffe": _jaffe, "kdef": _kdef}
"""Of the Extended Cohn-Kanade faces of 48 pixels, JAFFE, and the Karolinska Directed Emotional Faces."""


def named_by(layout: Layout, path: PurePosixPath) -> dict[str, str] | None:
    """Return what a layout reads in a path, as a manifest's row holds it; None where it reads no label.

    Parameters
    ----------
    layout : callable
        One of `LAYOUTS`, or a user's.
    path : PurePosixPath
        Below the folder.

    Raises
    ------
    ValueError
        If the layout returns something else than such a mapping.
    """
    found = layout(path)
    if found is None:
        return None
    if not isinstance(found, Mapping) or not set(found) <= {"label", "subject", "clip", "frame"}:
        raise ValueError(
            f"layout was expected to return None or a dict of label, subject, clip and frame, but returned {found!r} "
            f"for {path}."
        )
    row = {name: str(value) for name, value in found.items() if value is not None and str(value)}
    return row if "label" in row else None
