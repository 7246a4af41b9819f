"""Where a training run is kept so that a killed one goes on as if nothing had happened."""

import json
import time
from pathlib import Path
from typing import Any

from torch import Tensor

from flowexpr.exceptions import ModelFileError, warn
from flowexpr.files import made_folder, remove_abandoned, write_atomically
from flowexpr.storage import read_tensors, write_tensors

SHORTEST_INTERVAL = 5.0
"""Seconds between two checkpoints, at least."""
LARGEST_SHARE = 0.05
"""Share of the training time that writing checkpoints may take."""


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
