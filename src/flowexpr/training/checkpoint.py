"""Where a training run is kept so that a killed one goes on as if nothing had happened."""

import hashlib
import json
import os
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from flowexpr.exceptions import ModelFileError, warn
from flowexpr.functions import digest_of_function
from flowexpr.storage import read_tensors, remove_abandoned, write_atomically, write_tensors

SHORTEST_INTERVAL = 5.0
"""Seconds between two checkpoints, at least."""
LARGEST_SHARE = 0.05
"""Share of the training time that writing checkpoints may take."""
HASHED_BYTES = 2**24
"""Bytes of an array that are read at a time for its fingerprint."""


def fingerprint(description: Any, *arrays: NDArray[Any] | None) -> str:
    """Return a hexadecimal digest of a description that JSON can hold and of arrays, read a piece at a time."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True, default=repr).encode())
    for array in arrays:
        if array is None:
            digest.update(b"none")
            continue
        array = np.atleast_1d(array)
        digest.update(f"{array.dtype} {array.shape}".encode())
        if array.dtype.hasobject:
            digest.update(repr(array.tolist()).encode())
            continue
        step = max(1, HASHED_BYTES // max(1, array[:1].nbytes))
        for start in range(0, len(array), step):
            digest.update(np.ascontiguousarray(array[start : start + step]).data)
    return digest.hexdigest()[:32]


def describe_value(value: Any) -> Any:
    """Return a parameter's value as it is where JSON holds it, else a digest, since a text may leave parts out."""
    return value if isinstance(value, str | int | float | bool | None) else joblib.hash(value)


def describe_function(function: Callable[..., Any]) -> str:
    """Return a digest of what a function does (see `digest_of_function`).

    Raises
    ------
    ValueError
        If it holds something that cannot be pickled, and so cannot be told from another.
    """
    try:
        return digest_of_function(function)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"checkpoint_dir needs to tell augment={function!r} from another function, but it cannot be pickled "
            f"({error}). Pass a function, an object that can be pickled, or checkpoint_dir=None."
        ) from error


def made_folder(checkpoint_dir: str | Path) -> Path:
    """Return the folder of checkpoints, made where it is missing; raise a ValueError where there can be none."""
    folder = Path(checkpoint_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"checkpoint_dir={os.fspath(folder)!r} was expected to be a folder, or a place for one, but "
            f"{error.strerror}. Pass another."
        ) from error
    return folder


class Checkpoint:
    """The files of one training run, in a folder named by the fingerprint of the call.

    Parameters
    ----------
    folder : path-like
        Folder of all runs; made where it is missing.
    key : str
        Fingerprint of this run.
    """

    def __init__(self, folder: str | Path, key: str) -> None:
        self.folder = made_folder(folder) / key
        self.folder.mkdir(exist_ok=True)
        remove_abandoned(self.folder)
        self.state_file = self.folder / "state.safetensors"
        self.result_file = self.folder / "result.safetensors"
        self._last_written = time.monotonic()
        self._cost = 0.0

    def seed(self, drawn: int) -> int:
        """Return the seed that this run began with; the first call keeps the one it was given."""
        file = self.folder / "seed.json"
        if not file.exists():
            write_atomically(file, json.dumps({"seed": drawn}).encode())
        try:
            # What was just written, or what another process that makes the same call wrote meanwhile.
            return int(json.loads(file.read_text())["seed"])
        except (ValueError, KeyError, TypeError) as error:
            warn(f"training starts with a new seed, since {file} cannot be read: {error}")
        write_atomically(file, json.dumps({"seed": drawn}).encode())
        return drawn

    def due(self) -> bool:
        """Tell whether enough time has passed since the last state was written."""
        waited = time.monotonic() - self._last_written
        return waited >= max(SHORTEST_INTERVAL, self._cost / LARGEST_SHARE)

    def write(self, tensors: dict[str, Tensor], description: Any) -> None:
        """Write the state of training, atomically."""
        began = time.monotonic()
        write_tensors(self.state_file, tensors, description)
        self._last_written = time.monotonic()
        self._cost = self._last_written - began

    def read(self) -> tuple[dict[str, Tensor], Any] | None:
        """Return the last state written, or None; a damaged one is reported and left aside."""
        if not self.state_file.exists():
            return None
        try:
            return read_tensors(self.state_file)
        except ModelFileError as error:
            warn(f"training starts again, since its checkpoint cannot be read: {error}")
            return None

    def finish(self) -> None:
        """Remove the state of training once its result is stored."""
        self.state_file.unlink(missing_ok=True)
