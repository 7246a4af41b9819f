"""Files of named tensors with a JSON description, a checksum, and no half-written state.

One safetensors file holds everything; the description and the checksum lie in its header. A file is written
beside its place, flushed to disk and renamed, so that a reader sees the old file or the new one, nothing else.
"""

import hashlib
import json
import os
import platform
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from flowexpr.exceptions import ModelFileError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["locked", "read_tensors", "remove_abandoned", "write_atomically", "write_tensors"]

MACHINE = platform.node()[:20]
"""Stands in the names of half written files, and is short, since names have a longest length."""

ABANDONED = 24 * 60 * 60
"""Seconds after which a half written file of another machine's process is taken for a killed one's."""


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that, whatever happens meanwhile, it is whole or as it was before.

    What stands there and is no ordinary file, as ``/dev/null``, is written into and not replaced.

    Parameters
    ----------
    path : path-like
        Where; the folder must exist.
    content : bytes
        What.
    """
    path = Path(path)
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {path.parent}. Make it first.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} was expected to be a file, but is a folder. Pass a file in it.")
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    partial = path.with_name(f".{path.name}.{MACHINE}.{os.getpid()}.{threading.get_ident()}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_abandoned(folder: str | os.PathLike[str]) -> None:
    """Remove what `write_atomically` left half written in a folder: of processes that are gone, or a day old."""
    for partial in Path(folder).glob(".*.partial"):
        try:
            if _is_of_a_dead_process(partial.name) or time.time() - partial.stat().st_mtime > ABANDONED:
                partial.unlink()
        except FileNotFoundError:
            pass  # its process has finished it


def _is_of_a_dead_process(name: str) -> bool:
    """Tell whether a process of this machine wrote a partial file and is no more; False where nobody knows."""
    start, *numbers, _ = name.rsplit(".", 3)
    if os.name != "posix" or not start.endswith(f".{MACHINE}"):
        return False
    try:
        os.kill(int(numbers[0]), 0)
    except ProcessLookupError:
        return True
    except (ValueError, OverflowError, PermissionError):
        pass
    return False


@contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keep a folder to one writer; the lock goes with the process that holds it, however that ends.

    Parameters
    ----------
    folder : path-like
        Must exist. Where the system knows no such locks (Windows, some network drives), it is not locked.

    Raises
    ------
    BlockingIOError
        If another writer holds it.
    """
    if fcntl is None:
        yield
        return
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"another run is at work in {folder}. Wait until it is done, or pass another folder."
            ) from error
        except OSError:
            pass  # a network drive that has no locks
        yield
    finally:
        os.close(held)


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], description: Any) -> None:
    """Write tensors and a description that JSON can hold, atomically.

    Parameters
    ----------
    path : path-like
        Where; the folder must exist.
    tensors : mapping of str to Tensor
        Moved to the CPU for writing.
    description : object
        Anything that `json.dumps` takes, without NaN.
    """
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(description)
    header = {"description": text, "checksum": _checksum(on_cpu, text)}
    write_atomically(path, to_bytes(on_cpu, metadata=header))


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], Any]:
    """Read what `write_tensors` wrote.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    tensors : dict of str to Tensor
        On the CPU.
    description : object
        As it was given.

    Raises
    ------
    ModelFileError
        If the file is truncated or was changed since it was written.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"expected a model file at {path}, found none.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelFileError(
            f"{path} is not a whole flowexpr file ({error}): it was truncated or is of another kind. "
            "Copy it again, or save the model again."
        ) from error
    text = header.get("description")
    if text is None or header.get("checksum") != _checksum(tensors, text):
        raise ModelFileError(
            f"{path} does not match its checksum: it was changed after it was written, or is no flowexpr file. "
            "Copy it again, or save the model again."
        )
    return tensors, json.loads(text)


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()
