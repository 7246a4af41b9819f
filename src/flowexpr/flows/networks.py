"""The small networks inside the flows: ordinary convolutions (or dense layers), no bijection in them.

A coupling's network is conv3x3 - ReLU - conv1x1 - ReLU - conv3x3 for images and three dense layers for vectors
(`kernel_size=0`). The last layer starts at zero, so that a new coupling is the identity (Glow, section 3.3).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CONVOLUTION_STD = 0.05
"""Standard deviation of a new convolution's weights, as in Glow's code: small hidden values keep first steps small."""


_FULL_PRECISION: ContextVar[bool] = ContextVar("full_precision", default=False)


@contextmanager
def full_precision() -> Iterator[None]:
    """Let networks that mixed precision is set for compute in the types of the tensors here, in this thread alone."""
    token = _FULL_PRECISION.set(True)
    try:
        yield
    finally:
        _FULL_PRECISION.reset(token)


class Projection(nn.Module):
    """A convolution, or a dense layer where `kernel_size` is 0, that starts at zero or from a given generator.

    Torch's own layers draw their weights from the global generator when they are made; this one never does.

    Parameters
    ----------
    in_channels, out_channels : int
        Numbers of channels.
    kernel_size : int
        Odd, or 0 for a dense layer on (n, C).
    bias : bool, default=True
        Whether to add a bias.
    generator : torch.Generator, optional
        Source of the weights (Glow's for convolutions, He's for dense layers); without it they start at zero.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        bias: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        window = (kernel_size, kernel_size) if kernel_size else ()
        self.weight = nn.Parameter(torch.zeros(out_channels, in_channels, *window))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        if generator is None or not self.weight.numel():
            return
        if window:
            nn.init.normal_(self.weight, std=CONVOLUTION_STD, generator=generator)
        else:
            nn.init.kaiming_normal_(self.weight, nonlinearity="relu", generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        if not x.shape[1] and self.bias is not None:
            # Written out, since torch gives the bias of a convolution without input channels no gradient.
            return self.bias.view(1, -1, *([1] * (x.ndim - 2))).repeat(len(x), 1, *x.shape[2:])
        if x.ndim == 2:
            return F.linear(x, self.weight, self.bias)
        return F.conv2d(x, self.weight, self.bias, padding=self.weight.shape[-1] // 2)


class CouplingNetwork(nn.Module):
    """The network of one coupling, with the class beside its input where there are classes.

    A convolution is linear, so the convolution of the input with one-hot planes beside it is the convolution of
    the input plus that of the planes; the planes of all classes go through once, whatever the batch. A vector is
    read through asinh, linear where values are usual: a value of forty standard deviations, as rare features of
    tables have, would blow up the scales otherwise.

    Parameters
    ----------
    in_channels, hidden_channels, out_channels : int
        Numbers of channels.
    kernel_size : int
        3 for images, 0 for vectors.
    n_classes : int, default=0
        Number of one-hot planes; 0 for none.
    generator : torch.Generator, optional
        Source of the initial weights; torch's global one is left alone where it is given.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        n_classes: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        generator = torch.default_generator if generator is None else generator
        self.mixed_precision = False
        pointwise = min(kernel_size, 1)
        self.first = Projection(in_channels, hidden_channels, kernel_size, generator=generator)
        self.label = (
            Projection(n_classes, hidden_channels, kernel_size, bias=False, generator=generator) if n_classes else None
        )
        self.second = Projection(hidden_channels, hidden_channels, pointwise, generator=generator)
        self.last = Projection(hidden_channels, out_channels, kernel_size)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Map (n, in_channels, ...) and the class indices y (n,) to (n, out_channels, ...)."""
        if x.ndim == 2:
            x = torch.asinh(x)
        is_mixed = self.mixed_precision and not _FULL_PRECISION.get()
        # Without the cache, which would keep the weights of the first step as long as another autocast is around.
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=is_mixed, cache_enabled=False):
            hidden = self.first(x)
            if self.label is not None and y is not None:
                hidden = _add_class(hidden, self.label, y)
            out = self.last(F.relu_(self.second(F.relu_(hidden))))
        return out.to(x.dtype)


def _add_class(hidden: Tensor, label: Projection, y: Tensor) -> Tensor:
    """Add to a first layer (n, hidden, ...) what `label` makes of the one-hot planes of the classes y (n,)."""
    n_classes, window = label.weight.shape[1], hidden.shape[2:]
    one_hot = torch.eye(n_classes, dtype=hidden.dtype, device=hidden.device)
    # Classes are picked by a matrix product: the gradient of an index is a scatter, many times slower.
    if not window:
        return torch.addmm(hidden, one_hot[y], label.weight.t())
    planes = one_hot.view(n_classes, n_classes, *([1] * len(window)))
    by_class = label(planes.expand(n_classes, n_classes, *window))
    picked = one_hot[y] @ by_class.movedim(1, -1).flatten(1)
    return hidden + picked.unflatten(1, (*window, -1)).movedim(-1, 1)
