"""Normalizing flows in torch: layers, the backbones f, the class-conditional heads h, and both together.

Bijections follow one contract. For z = f(x)::

    z, log_det = flow(x)        # log_det = log |det dz/dx|, shape (n,), nats
    x = flow.inverse(z)

so that log p(x) = log p(z) + log_det. Tensors are ``(n, channels, height, width)`` for images and
``(n, channels)`` for vectors; `Squeeze` and `Split` take images only. `Split` returns `Parted`, and the backbones
return `Latents`, since they hand out several latents. Nothing here knows scikit-learn or files.
"""

from flowexpr.flows.glow import Glow
from flowexpr.flows.heads import ConditionalFlow, GaussianMixture
from flowexpr.flows.layers import ActNorm, AffineCoupling, FlowStep, InvertibleConv1x1, Split, Squeeze
from flowexpr.flows.model import FlowModel
from flowexpr.flows.realnvp import RealNVP

__all__ = [
    "ActNorm",
    "AffineCoupling",
    "ConditionalFlow",
    "FlowModel",
    "FlowStep",
    "GaussianMixture",
    "Glow",
    "InvertibleConv1x1",
    "RealNVP",
    "Split",
    "Squeeze",
]
