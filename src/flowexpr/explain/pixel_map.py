"""Where in the image the evidence lies: integrated gradients along a path of faces, from a neutral one to the image.

Integrated gradients [1]_ multiply the gradient of the evidence by the way that every pixel goes, and sum that along a
path. The usual path is the straight line from a black image. Here a flow gives a better one: the line *between
latents*, which it decodes to faces all the way, from the model's most neutral version of the same face to the face
itself. Pixels that the expression does not move go no way and get no evidence; and what all pixels get sums to the
difference of the evidence between the two ends (completeness), which holds for any path.

References
----------
.. [1] Sundararajan, Taly & Yan, "Axiomatic Attribution for Deep Networks", 2017, https://arxiv.org/abs/1703.01365
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from flowexpr.explain.evidence import EvidenceModel

__all__ = ["PathIntegral", "integrate_along_path"]

FIRST_STEPS = 4
"""Steps of the path at first; doubled for the samples whose sum is not complete yet."""

MOST_STEPS = 64
"""Steps of the path at most."""

TOLERANCE = 0.01
"""Largest difference between the sum of a map and the evidence that it should sum to, relative to the latter."""


class PathIntegral(NamedTuple):
    """What integrating the gradient along a path gives for n samples.

    Attributes
    ----------
    maps : Tensor of shape (n, ...)
        Evidence of every value of the flow's variable, nats.
    start, end : Tensor of shape (n,)
        Evidence at the two ends, without the classes' priors, nats.
    """

    maps: Tensor
    start: Tensor
    end: Tensor

    @property
    def gap(self) -> Tensor:
        """Relative difference between the sum of each map and `end` - `start`, (n,)."""
        expected = self.end - self.start
        return (self.maps.flatten(1).sum(1) - expected).abs() / expected.abs().clamp_min(1e-6)


def integrate_along_path(
    model: EvidenceModel, start: list[Tensor], end: list[Tensor], a: Tensor, b: Tensor
) -> PathIntegral:
    """Integrate the gradient of the evidence for class a against b along the line between latents.

    The trapezoidal rule, with twice the steps for the samples whose sum is off by more than `TOLERANCE`, up to
    `MOST_STEPS`; what was computed is used again.

    Parameters
    ----------
    model : EvidenceModel
        The trained model.
    start, end : list of Tensor
        Latents z1, z2, ... of n samples at the two ends.
    a, b : Tensor of shape (n,)
        Class indices.

    Returns
    -------
    integral : PathIntegral
        The maps and the evidence at both ends.
    """
    nodes = [_node(model, start, end, a, b, t) for t in torch.linspace(0, 1, FIRST_STEPS + 1).tolist()]
    result = PathIntegral(_trapezoid(nodes), nodes[0].evidence, nodes[-1].evidence)
    n_steps, left = FIRST_STEPS, torch.arange(len(a), device=a.device)
    while n_steps < MOST_STEPS:
        is_open = torch.nonzero(result.gap[left] > TOLERANCE)[:, 0]
        if not len(is_open):
            break
        left, n_steps = left[is_open], 2 * n_steps
        ends = [level[left] for level in start], [level[left] for level in end]
        between = [_node(model, *ends, a[left], b[left], (2 * i + 1) / n_steps) for i in range(n_steps // 2)]
        nodes = [_Node(*(part[is_open] for part in node)) for node in nodes]
        nodes = [nodes[0], *(node for pair in zip(between, nodes[1:], strict=True) for node in pair)]
        result.maps[left] = _trapezoid(nodes)
    return result


class _Node(NamedTuple):
    """A point of the path: the flow's variable there, the evidence and its gradient."""

    x: Tensor
    evidence: Tensor
    gradient: Tensor


def _node(model: EvidenceModel, start: list[Tensor], end: list[Tensor], a: Tensor, b: Tensor, t: float) -> _Node:
    x = model.decode([torch.lerp(first, last, t) for first, last in zip(start, end, strict=True)])
    return _Node(x, *model.gradient(x, a, b))


def _trapezoid(nodes: list[_Node]) -> Tensor:
    pieces = [(this.gradient + after.gradient) / 2 * (after.x - this.x) for this, after in pairwise(nodes)]
    return torch.stack(pieces).sum(0)
