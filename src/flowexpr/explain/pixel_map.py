"""Where in the image the evidence lies: integrated gradients from a neutral version of the face to the face.

Integrated gradients [1]_ multiply the gradient of the evidence by the way that every pixel goes along the line from a
baseline to the image. The usual baseline is a black image. A flow has a better one: the nearest face that it takes for
one at rest (`flowexpr.explain.neutral_version`), of the same person under the same light. Pixels that need not move for
that go no way and get no evidence; and what all pixels get sums to the difference of the evidence between the two ends
(completeness). Gradients of neighbouring pixels differ by noise that no face has; what is shown is smoothed
(`smooth`), which leaves the sum as it is.

References
----------
.. [1] Sundararajan, Taly & Yan, "Axiomatic Attribution for Deep Networks", 2017, https://arxiv.org/abs/1703.01365
"""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from flowexpr.explain.evidence import EvidenceModel

__all__ = ["LineIntegral", "integrate_along_line", "smooth"]

FIRST_STEPS = 7
"""Steps of the line at first; the worst half of them is halved where the sum is not complete yet, again and again."""

MOST_STEPS = 250
"""A line of more steps is halved no further; the last time may lead to half as many more."""

AT_ONCE = 16
"""Points in one pass of the model."""

TOLERANCE = 0.018
"""Largest difference between the sum of a map and the evidence that it should sum to, relative to the latter."""

LEAST_GAP = 0.01
"""Nats that a map may always be off by; of evidence that small, a share says nothing."""

SMOOTHING = 1 / 20
"""Standard deviation of the smoothing of a map, as a share of the image's shorter side."""


class LineIntegral(NamedTuple):
    """What integrating the gradient along lines gives for n samples.

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


def integrate_along_line(model: EvidenceModel, start: Tensor, end: Tensor, a: Tensor, b: Tensor) -> LineIntegral:
    """Integrate the gradient of the evidence for class a against b along the lines from `start` to `end`.

    The trapezoidal rule. Since the evidence at every point is known, so is the error of every step; where a sum is off
    by more than `TOLERANCE`, the worst steps are halved, up to `MOST_STEPS`. Warns where that was not enough.

    Parameters
    ----------
    model : EvidenceModel
        The trained model.
    start, end : Tensor of shape (n, ...)
        The flow's variable at the two ends of n lines.
    a, b : Tensor of shape (n,)
        Class indices.

    Returns
    -------
    integral : LineIntegral
        The maps and the evidence at both ends.
    """
    times = torch.linspace(0, 1, FIRST_STEPS + 1, device=a.device)[:, None].expand(-1, len(a))
    nodes = _nodes(model, start, end, a, b, times)
    result = LineIntegral(nodes.steps().sum(0), nodes.evidence[0], nodes.evidence[-1])
    left = torch.arange(len(a), device=a.device)
    while len(times) <= MOST_STEPS:
        is_open = torch.nonzero(result.gap[left] > TOLERANCE)[:, 0]  # what is not a number stays so
        if not len(is_open):
            break
        left, times, nodes = left[is_open], times[:, is_open], nodes.at(is_open)
        worst = nodes.errors().abs().topk((len(times) - 1) // 2, dim=0).indices
        between = (times.gather(0, worst) + times.gather(0, worst + 1)) / 2
        found = _nodes(model, start[left], end[left], a[left], b[left], between)
        times, order = torch.cat([times, between]).sort(0)
        nodes = nodes.with_more(found, order)
        result.maps[left] = nodes.steps().sum(0)
    _warn_of_gaps(result)
    return result


def smooth(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth maps of images (n, H, W) by a Gaussian; every sum stays as it is.

    The standard deviation is `SMOOTHING` times the shorter side.
    """
    sigma = SMOOTHING * min(maps.shape[1:])
    return gaussian_filter(maps, (0, sigma, sigma), mode="reflect")


def _warn_of_gaps(result: LineIntegral) -> None:
    off = result.gap * (result.end - result.start).abs()
    incomplete = ~((result.gap <= TOLERANCE) | (off <= LEAST_GAP))  # also where it is not a number
    if incomplete.any():
        worst = int(torch.where(incomplete, off.nan_to_num(torch.inf), -1.0).argmax())
        warnings.warn(
            f"{int(incomplete.sum())} of {len(off)} maps do not sum to the evidence that they divide up: the worst is "
            f"off by {float(off[worst]):.2g} nats, {100 * float(result.gap[worst]):.2g} % of it, after {MOST_STEPS} "
            "steps. Do not rely on a map whose `completeness` is large.",
            stacklevel=2,
        )


class _Nodes(NamedTuple):
    """Points of n lines (k, n, ...): the flow's variable there, the evidence and its gradient."""

    x: Tensor
    evidence: Tensor
    gradient: Tensor

    def steps(self) -> Tensor:
        """Return the integral over every step (k - 1, n, ...)."""
        return (self.gradient[:-1] + self.gradient[1:]) / 2 * (self.x[1:] - self.x[:-1])

    def errors(self) -> Tensor:
        """Return by how much the sum of every step is off (k - 1, n)."""
        return self.steps().flatten(2).sum(2) - self.evidence.diff(dim=0)

    def at(self, rows: Tensor) -> "_Nodes":
        """Return some lines."""
        return _Nodes(*(column[:, rows] for column in self))

    def with_more(self, others: "_Nodes", order: Tensor) -> "_Nodes":
        """Return these points and others of the same lines, in an order (k, n) of each."""
        lines = torch.arange(order.shape[1], device=order.device)
        return _Nodes(*(torch.cat(pair)[order, lines] for pair in zip(self, others, strict=True)))


def _nodes(model: EvidenceModel, start: Tensor, end: Tensor, a: Tensor, b: Tensor, times: Tensor) -> _Nodes:
    """Evaluate the lines at times (k, n); many points in one pass."""
    k, n = times.shape
    x = torch.lerp(start, end, times.to(end).view(k, n, *[1] * (end.ndim - 1))).flatten(0, 1)
    parts = [
        model.gradient(x[rows], a[rows % n], b[rows % n])
        for rows in torch.arange(k * n, device=a.device).split(AT_ONCE)
    ]
    return _Nodes(*(column.unflatten(0, (k, n)) for column in (x, *map(torch.cat, zip(*parts, strict=True)))))
