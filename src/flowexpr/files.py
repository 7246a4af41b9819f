"""Files that are whole or as they were before, and folders with one writer at a time."""

import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["locked", "made_folder", "remove_abandoned", "write_atomically"]

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
