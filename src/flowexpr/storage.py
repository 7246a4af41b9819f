"""Files of named tensors with a JSON description, a checksum, and no half-written state.

One safetensors file holds everything; the description and the checksum lie in its header.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from flowexpr.exceptions import ModelFileError
from flowexpr.files import write_atomically

__all__ = ["read_tensors", "write_tensors"]


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
