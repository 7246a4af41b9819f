"""The whole flow: backbone f, then head h, giving log p(x|y) of every class in one pass (equation 2)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from flowexpr.flows.glow import Glow, Latents
from flowexpr.flows.heads import ConditionalFlow, GaussianMixture
from flowexpr.flows.layers import AffineCoupling
from flowexpr.flows.realnvp import RealNVP
from flowexpr.flows.steps import FlowSteps


class ClassLogProb(NamedTuple):
    """Log-likelihood of n samples under every class, in two parts that sum to log p(x | y = i), in nats.

    Apart, since the first cancels in every decision and is a thousand times larger than the differences there.

    Attributes
    ----------
    shared : Tensor of shape (n,)
        What no class enters: log |det df/dx| and the priors of z2 ... z_n.
    by_class : Tensor of shape (n, n_classes)
        log p(z1 | y = i), one column per class.
    """

    shared: Tensor
    by_class: Tensor


class FlowModel(nn.Module):
    """A backbone f and a head h on its deepest latent.

    Parameters
    ----------
    backbone : Glow or RealNVP
        f: x -> (z1, z2, ..., z_n).
    head : ConditionalFlow or GaussianMixture
        h: (z1, y) -> z'1.

    Attributes
    ----------
    hidden_size : int
        Values of the widest layer that one sample has, in f or under all classes in h.
    mixed_precision : bool
        Whether the networks of f compute in bfloat16; see `set_mixed_precision`.
    """

    def __init__(self, backbone: Glow | RealNVP, head: ConditionalFlow | GaussianMixture) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.hidden_size = max(backbone.hidden_size, head.n_classes * head.hidden_size)
        self.mixed_precision = False

    def forward(self, x: Tensor) -> ClassLogProb:
        """Return log p(x | y = i) of every class: f runs once, h once for all classes together."""
        latents: Latents = self.backbone(x)
        return ClassLogProb(latents.log_prob, self.head.log_prob_of_all_classes(latents.z[0]))

    def encode(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map x (n, ...) to its latents (z1, z2, ..., z_n)."""
        latents: Latents = self.backbone(x)
        return latents.z

    def decode(self, z: tuple[Tensor, ...]) -> Tensor:
        """Map latents (z1, z2, ..., z_n) back to x (n, ...)."""
        return self.backbone.inverse(z)

    def sample(self, y: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Draw one x for each class index in y (n,); every Gaussian's scale is times `temperature`."""
        parameter = next(self.parameters())
        shape = (len(y), *self.backbone.z1_shape)
        noise = torch.randn(shape, generator=generator, dtype=parameter.dtype).to(parameter.device)
        z1 = self.head.inverse(temperature * noise, y)
        return self.backbone.sample(z1, temperature, generator)

    def set_mixed_precision(self, enabled: bool) -> None:
        """Run the networks of f in bfloat16, everything around them and all of h in the parameters' type."""
        self.mixed_precision = enabled
        for module in self.backbone.modules():
            if isinstance(module, AffineCoupling):
                module.network.mixed_precision = enabled

    def set_reversible(self, enabled: bool) -> None:
        """Recompute the activations of f from its output while training, instead of storing them."""
        for module in self.backbone.modules():
            if isinstance(module, FlowSteps):
                module.reversible = enabled
