"""A caller's `torch.autocast` kept out: every estimator chooses its own precision."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def no_autocast() -> Iterator[None]:
    """Compute in the types of the tensors, whatever autocast holds around; also a decorator."""
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        yield
