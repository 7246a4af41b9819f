"""Where in the image the evidence lies: integrated gradients from a neutral version of the face to the face.

Integrated gradients [1]_ multiply the gradient of the evidence by the way that every pixel goes along the line from a
baseline to the image. The usual baseline is a black image. A flow has a better one: the nearest face that it takes for
one at rest (`flowexpr.explain.neutral_version`), of the same person under the same light. Pixels that need not move for
that go no way and get no evidence; and what all pixels get sums to the difference of the evidence between the two ends
(completeness).

The gradient of a flow has kinks wherever a unit of its networks starts, so that a sum over a few points is off by
something. What is off is known, since the evidence at both ends is; it is divided by the squares of the ways, which
changes the mean gradient by the least that makes it agree with both ends, as the secant methods do [2]_. Gradients of
neighbouring pixels differ by noise that no face has; what is shown is smoothed (`smooth`), which leaves the sum as it
is.

References
----------
.. [1] Sundararajan, Taly & Yan, "Axiomatic Attribution for Deep Networks", 2017, https://arxiv.org/abs/1703.01365
.. [2] Broyden, "A Class of Methods for Solving Nonlinear Simultaneous Equations", 1965,
   https://doi.org/10.1090/S0025-5718-1965-0198670-6
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from flowexpr.explain.evidence import EvidenceModel

__all__ = ["LineIntegral", "integrate_along_line", "smooth", "sum_colours"]

N_POINTS = 16
"""Of a line, evenly placed, both ends among them."""

LEAST_MISSED = 0.001
"""Nats; less is rounding."""

ROUNDED = 1e-12
"""Of the evidence at the ends, what float64 may have lost of their difference."""

SMOOTHING = 1 / 20
"""Standard deviation of the smoothing of a map, as a share of the image's shorter side."""


class LineIntegral(NamedTuple):
    """What integrating the gradient along lines gives for n samples.

    Attributes
    ----------
    maps : Tensor of shape (n, ...)
        Evidence of every value of the flow's variable, nats; the sum is `end` - `start`.
    start, end : Tensor of shape (n,)
        Evidence at the two ends, without the classes' priors, nats.
    delta : Tensor of shape (n,)
        What the sum over the points was off by, nats, before it was divided up: the convergence delta.
    missed : Tensor of shape (n,)
        The size of that, or of the rounding of `start` and `end` where that is more, as a share of the sizes of all
        values of the map; 0 where it is less than `LEAST_MISSED`, NaN or infinite where there are no numbers.
    """

    maps: Tensor
    start: Tensor
    end: Tensor
    delta: Tensor
    missed: Tensor


def integrate_along_line(model: EvidenceModel, start: Tensor, end: Tensor, a: Tensor, b: Tensor) -> LineIntegral:
    """Integrate the gradient of the evidence for class a against b along the lines from `start` to `end`.

    The trapezoidal rule over `N_POINTS` points, and what it misses by the squares of the ways.

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
    n, way = len(a), end - start
    times = torch.linspace(0, 1, N_POINTS, dtype=end.dtype, device=end.device).view(-1, *[1] * (end.ndim - 1))
    lines = zip(torch.lerp(start[:, None], end[:, None], times), a, b, strict=True)
    # A line per pass, so that its gradients do not depend on what else is explained.
    gradient = torch.stack([model.gradient(line, i.expand(N_POINTS), j.expand(N_POINTS)) for line, i, j in lines])
    mean = torch.trapezoid(gradient, dx=1 / (N_POINTS - 1), dim=1)
    with torch.inference_mode():
        at_ends = model.evidence(torch.cat([start, end]), a.repeat(2), b.repeat(2)).double().view(2, n)
    maps = (mean * way).double().flatten(1)
    delta = maps.sum(1) - (at_ends[1] - at_ends[0])
    off = torch.maximum(delta.abs(), ROUNDED * at_ends.abs().amax(0))
    missed = torch.where(off <= LEAST_MISSED, 0.0, off / maps.abs().sum(1))
    squares = F.normalize(way.double().flatten(1)).square()
    return LineIntegral((maps - delta[:, None] * squares).view_as(way), at_ends[0], at_ends[1], delta, missed)


def sum_colours(maps: NDArray[np.float64], image_shape: tuple[int, int, int] | None) -> NDArray[np.float64]:
    """Return maps (n, H, W) of (n, C, H, W), or of rows of images (H, W, C); those of vectors as they are."""
    if image_shape is None:
        return maps
    return maps.sum(1) if maps.ndim == 4 else maps.reshape(-1, *image_shape).sum(-1)


def smooth(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Smooth maps of images (n, H, W) by a Gaussian; every sum stays as it is.

    The standard deviation is `SMOOTHING` times the shorter side.
    """
    sigma = SMOOTHING * min(maps.shape[1:])
    return gaussian_filter(maps, (0, sigma, sigma), mode="reflect")
