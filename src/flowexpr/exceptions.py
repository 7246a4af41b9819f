"""How flowexpr tells what is wrong: errors that Python has no name for, and warnings at the user's line."""

import sys
import warnings
from collections.abc import Sequence

__all__ = ["ModelFileError", "TrainingDivergedError", "UnreadableImageError", "some", "warn"]

OWN = ("flowexpr", "sklearn", "torch", "contextlib")
"""Packages whose frames lie between a warning and whom it is for; all but the first wrap functions or call them."""


MOST_NAMED = 5
"""Things that a message names before it only counts them."""


class ModelFileError(ValueError):
    """A model file is truncated, was changed, or was written by a newer flowexpr."""


class TrainingDivergedError(RuntimeError):
    """Training steps, or what they led to, were not finite; the message names the parameter to change."""


class UnreadableImageError(ValueError):
    """A file is missing, is no image, or is damaged; the message is the reason, without the path."""


def some(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are, for a message."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def warn(message: str) -> None:
    """Warn, pointing at the line that called into flowexpr, however many functions lie between."""
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in OWN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)
