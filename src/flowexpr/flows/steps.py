"""A run of flow steps on one resolution, storing its activations for the gradient or recomputing them."""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn

from flowexpr.flows.layers import FlowStep, mix_channels, n_positions
from flowexpr.flows.linear import invert_maps, linear_log_det, linear_maps
from flowexpr.flows.reversible import run_reversibly


class FlowSteps(nn.Module):
    """Flow steps one after another: a bijection, for every class where there are classes.

    Parameters
    ----------
    n_flows : int
        Number of steps.
    channels : int
        Number of channels C.
    hidden_channels : int
        Width of the coupling networks.
    kernel_size : int, default=3
        3 for images, 0 for vectors.
    n_classes, label_only, generator
        As in `AffineCoupling`.

    Attributes
    ----------
    reversible : bool
        Whether unconditional steps recompute their activations on the way back instead of storing them.
    """

    def __init__(
        self,
        n_flows: int,
        channels: int,
        hidden_channels: int,
        kernel_size: int = 3,
        *,
        n_classes: int = 0,
        label_only: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.reversible = False
        self.steps = nn.ModuleList(
            FlowStep(
                channels,
                hidden_channels,
                kernel_size,
                n_classes=n_classes,
                label_only=label_only,
                generator=generator,
            )
            for _ in range(n_flows)
        )

    def __iter__(self) -> Iterator[FlowStep]:
        return (cast(FlowStep, step) for step in self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def forward(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        steps = list(self)
        if any(step.actnorm.waits() for step in steps):
            return self._one_by_one(x, y)
        if self.reversible and y is None and torch.is_grad_enabled():
            z, log_det = run_reversibly(steps, x)
        else:
            z, log_det = x, x.new_zeros(len(x))
            for step, weight, bias in zip(steps, *linear_maps(steps), strict=True):
                z, added = step.coupling(mix_channels(z, weight, bias), y)
                log_det = log_det + added
        return z, log_det + n_positions(x) * linear_log_det(steps)

    def trace(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z, and the log scale that every coupling gives every value: (n, n_flows, C, ...), nats.

        A coupling leaves the values that it reads as they are: their log scale is 0. Summed, and with the linear maps'
        part, which neither x nor y enters, this is the log-determinant of `forward`.
        """
        steps, log_scales = list(self), []
        for step, weight, bias in zip(steps, *linear_maps(steps), strict=True):
            x, log_scale = step.coupling.transform(mix_channels(x, weight, bias), y)
            log_scales.append(torch.cat([torch.zeros_like(x[:, : step.coupling.n_read]), log_scale], 1))
        return x, torch.stack(log_scales, 1)

    def inverse(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        steps = list(self)
        maps = zip(steps, *invert_maps(*linear_maps(steps)), strict=True)
        for step, weight, bias in reversed(list(maps)):
            z = mix_channels(step.coupling.inverse(z, y), weight, bias)
        return z

    def _one_by_one(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run the steps as they are, so that every ActNorm sees what the steps before it make of the first batch."""
        log_det = x.new_zeros(len(x))
        for step in self:
            x, added = step(x, y)
            log_det = log_det + added
        return x, log_det
