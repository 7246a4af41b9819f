"""RealNVP, the backbone f for flat vectors: one resolution, so the whole latent is z1.

References
----------
.. [1] Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP", 2017,
   https://arxiv.org/abs/1605.08803
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from flowexpr.flows.glow import Latents
from flowexpr.flows.steps import FlowSteps


class RealNVP(nn.Module):
    """A run of flow steps on vectors [1]_, whose channels a learned linear map mixes (Glow's 1x1 convolution).

    Parameters
    ----------
    n_features : int
        Length of a vector.
    n_flows : int, default=4
        Number of flow steps.
    hidden_channels : int, default=128
        Width of the coupling networks.
    generator : torch.Generator, optional
        Source of the initial weights.
    """

    def __init__(
        self,
        n_features: int,
        n_flows: int = 4,
        hidden_channels: int = 128,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.steps = FlowSteps(n_flows, n_features, hidden_channels, kernel_size=0, generator=generator)
        self.hidden_size = max(hidden_channels, n_features)
        self.z1_shape = (n_features,)

    def forward(self, x: Tensor) -> Latents:
        """Map vectors (n, n_features) to their latent, (n, n_features)."""
        z, log_det = self.steps(x)
        return Latents((z,), (log_det,), (), ())

    def inverse(self, z: tuple[Tensor, ...]) -> Tensor:
        """Map the latents (z1,) back to vectors (n, n_features)."""
        (z1,) = z
        return self.steps.inverse(z1)

    def inverse_of_normal(self, z1: Tensor, normal: Sequence[Tensor]) -> Tensor:
        """Return the vectors whose latent is z1; `normal` is empty, since there are no other latents."""
        return self.inverse((z1, *normal))

    def sample(self, z1: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Return the vectors whose latent is z1: nothing is left to draw."""
        return self.inverse((z1,))
