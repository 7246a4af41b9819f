"""The linear part of a run of flow steps: ActNorm and the 1x1 convolution after it as one map of the channels.

The matrices are small and the images are large. So a run makes the matrices of all its steps together, in a few
operations whatever the number of steps, and then mixes the channels once a step instead of shifting, scaling and
mixing them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowexpr.flows.layers import FlowStep, compose_lu


def linear_maps(steps: Sequence[FlowStep]) -> tuple[Tensor, Tensor]:
    """Return what the linear parts of n steps do to the channels, x -> W x + b: (n, C, C) and (n, C)."""
    norms, convolutions = [step.actnorm for step in steps], [step.conv1x1 for step in steps]
    mixing = compose_lu(
        torch.stack([conv.permutation for conv in convolutions]),
        torch.stack([conv.lower for conv in convolutions]),
        torch.stack([conv.upper for conv in convolutions]),
        torch.stack([conv.sign for conv in convolutions]) * _log_diagonals(steps).exp(),
    )
    weight = mixing * _log_scales(steps).exp()[:, None]
    shift = torch.stack([norm.bias for norm in norms])
    return weight, (weight @ shift[..., None])[..., 0]


def linear_log_det(steps: Sequence[FlowStep]) -> Tensor:
    """Return the sum of log |det W| over the steps, of one position: a scalar, nats."""
    return _log_diagonals(steps).sum() + _log_scales(steps).sum()


def linear_parameters(steps: Sequence[FlowStep]) -> list[nn.Parameter]:
    """Return the parameters that `linear_maps` reads."""
    return [p for step in steps for part in (step.actnorm, step.conv1x1) for p in part.parameters()]


def invert_maps(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return the matrices and biases that undo x -> W x + b; computed in float64, returned as given.

    Of a matrix without an inverse, to which training that diverges may come, the inverse is no number.
    """
    inverse = torch.linalg.inv_ex(weight.double())[0]
    return inverse.to(weight.dtype), -(inverse @ bias.double()[..., None])[..., 0].to(bias.dtype)


def _log_diagonals(steps: Sequence[FlowStep]) -> Tensor:
    return torch.stack([step.conv1x1.log_diagonal for step in steps])


def _log_scales(steps: Sequence[FlowStep]) -> Tensor:
    return torch.stack([step.actnorm.log_scale for step in steps])
