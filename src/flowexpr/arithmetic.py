"""A caller's settings of torch kept out: every estimator chooses its own precision, and the device of every tensor."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any, TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


@contextmanager
def own_arithmetic() -> Iterator[None]:
    """Compute in the types of the tensors and where they are, whatever the caller set; also a decorator.

    That is a `torch.autocast` around the call; TF32, in which CUDA computes convolutions of float32 unless told
    otherwise, with ten bits of the mantissa (a tenth of a nat of the difference of two classes, and no exact inverse);
    and a default device other than the CPU, where all that has no device is made here.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.autocast("cpu", enabled=False))
        stack.enter_context(torch.autocast("cuda", enabled=False))
        if torch.empty(0).device.type != "cpu":  # torch.get_default_device does not know of contexts before 2.5
            stack.enter_context(torch.device("cpu"))
        if torch.backends.cuda.is_built():
            stack.enter_context(_FULL_FLOAT32)
        yield


def move(module: Module, device: torch.device) -> Module:
    """Move a module; also in a caller's inference mode, in which it would have no gradients ever after."""
    with torch.inference_mode(False):
        return module.to(device)


class _FullFloat32:
    """CUDA's float32 with all of its bits while anybody is inside; the switch is one for the whole process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._n_inside = 0
        self._before: list[Any] = []

    def __enter__(self) -> None:
        with self._lock:
            if not self._n_inside:
                self._before = [getattr(holder, name) for holder, name, _ in _switches()]
                for holder, name, off in _switches():
                    setattr(holder, name, off)
            self._n_inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if not self._n_inside:
                for (holder, name, _), before in zip(_switches(), self._before, strict=True):
                    setattr(holder, name, before)


_FULL_FLOAT32 = _FullFloat32()


def _switches() -> list[tuple[Any, str, Any]]:
    """Return where TF32 is switched, of convolutions and of matrix products: what holds it, its name, and off."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    if hasattr(cudnn, "conv"):
        return [(cudnn.conv, "fp32_precision", "ieee"), (matmul, "fp32_precision", "ieee")]
    return [(cudnn, "allow_tf32", False), (matmul, "allow_tf32", False)]  # torch < 2.9
