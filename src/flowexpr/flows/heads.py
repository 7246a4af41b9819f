"""The class-conditional heads h: z1 -> z'1 given the label, with z'1 standard normal under the true class.

`ConditionalFlow` is the paper's head. `GaussianMixture` is FlowGMM's: one Gaussian per class on z1, which is the
simplest bijection h(z1, y) = z1 - mean[y].

References
----------
.. [1] Atanov et al., "Semi-Conditional Normalizing Flows for Semi-Supervised Learning", 2019,
   https://arxiv.org/abs/1905.00505
.. [2] Izmailov et al., "Semi-Supervised Learning with Normalizing Flows", 2020,
   https://arxiv.org/abs/1912.13025
"""

import math

import torch
from torch import Tensor, nn

from flowexpr.flows.layers import standard_normal_log_prob, standard_normal_terms
from flowexpr.flows.linear import linear_log_det
from flowexpr.flows.steps import FlowSteps


class _Head(nn.Module):
    """What every head can do once it maps z1 under given classes."""

    n_classes: int
    hidden_size: int

    def log_prob_of_all_classes(self, z1: Tensor) -> Tensor:
        """Return log p(z1 | y = i) for every class i in one pass, in nats.

        Parameters
        ----------
        z1 : Tensor of shape (n, ...)
            Deepest latents.

        Returns
        -------
        log_prob : Tensor of shape (n, n_classes)
            One column per class.
        """
        n = len(z1)
        y = torch.arange(self.n_classes, device=z1.device).repeat(n)
        z_prime, log_det = self(z1.repeat_interleave(self.n_classes, 0), y)
        return (standard_normal_log_prob(z_prime) + log_det).view(n, self.n_classes)

    def terms_of_all_classes(self, z1: Tensor) -> Tensor:
        """Return `density_terms` under every class in one pass, (n, n_classes, n_flows + 1, ...), nats.

        Summed in float64, and `shared_log_det` added, they are `log_prob_of_all_classes` to full precision: the sums
        are hundreds of nats, of which float32 keeps too little to tell classes apart that are nearly as likely.
        """
        n = len(z1)
        y = torch.arange(self.n_classes, device=z1.device).repeat(n)
        return self.density_terms(z1.repeat_interleave(self.n_classes, 0), y).unflatten(0, (n, self.n_classes))

    def density_terms(self, z1: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError

    def shared_log_det(self) -> Tensor:
        """Return what `density_terms` leave out, a scalar, nats: the same for every z1 and every class."""
        raise NotImplementedError


class ConditionalFlow(_Head):
    """A run of conditional flow steps on z1; every coupling network sees the class as one-hot planes.

    Parameters
    ----------
    z1_shape : tuple
        Shape of one deepest latent, (C, H, W) or (C,).
    n_classes : int
        Number of classes.
    n_flows : int, default=4
        Number of flow steps.
    hidden_channels : int, default=128
        Width of the coupling networks.
    label_only : bool, default=False
        Zero z1 where it enters the networks: h becomes a class-dependent affine map of z1.
    generator : torch.Generator, optional
        Source of the initial weights.
    """

    def __init__(
        self,
        z1_shape: tuple[int, ...],
        n_classes: int,
        n_flows: int = 4,
        hidden_channels: int = 128,
        *,
        label_only: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.n_positions = math.prod(z1_shape[1:])
        self.hidden_size = max(hidden_channels, z1_shape[0]) * self.n_positions
        self.steps = FlowSteps(
            n_flows,
            z1_shape[0],
            hidden_channels,
            kernel_size=3 if len(z1_shape) == 3 else 0,
            n_classes=n_classes,
            label_only=label_only,
            generator=generator,
        )

    def forward(self, z1: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Map z1 (n, ...) under the class indices y (n,) to z'1 (n, ...) and log |det dh/dz1| (n,)."""
        return self.steps(z1, y)

    def density_terms(self, z1: Tensor, y: Tensor) -> Tensor:
        """Return what log p(z1 | y) is the sum of, value by value, but for what no class enters.

        Parameters
        ----------
        z1 : Tensor of shape (n, ...)
            Deepest latents.
        y : Tensor of shape (n,)
            Class indices.

        Returns
        -------
        terms : Tensor of shape (n, n_flows + 1, ...)
            The log scales of every flow of h, then log N(z'1; 0, 1), nats.
        """
        z1_prime, log_scales = self.steps.trace(z1, y)
        return torch.cat([log_scales, standard_normal_terms(z1_prime)[:, None]], 1)

    def shared_log_det(self) -> Tensor:
        """Return the log-determinant of the linear maps, nats."""
        return self.n_positions * linear_log_det(list(self.steps))

    def inverse(self, z1_prime: Tensor, y: Tensor) -> Tensor:
        """Map z'1 (n, ...) under the class indices y (n,) back to z1 (n, ...)."""
        return self.steps.inverse(z1_prime, y)


class GaussianMixture(_Head):
    """One Gaussian per class on z1, with identity covariance (FlowGMM [2]_).

    Parameters
    ----------
    z1_shape : tuple
        Shape of one deepest latent, (C, H, W) or (C,).
    n_classes : int
        Number of classes.
    learned : bool, default=False
        Whether the means are trained; otherwise they stay where they were drawn, from N(0, I), as in [2]_.
    generator : torch.Generator, optional
        Source of the means.
    """

    def __init__(
        self,
        z1_shape: tuple[int, ...],
        n_classes: int,
        *,
        learned: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.hidden_size = math.prod(z1_shape)
        means = torch.randn(n_classes, *z1_shape, generator=generator)
        self.means = nn.Parameter(means, requires_grad=learned)

    def forward(self, z1: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Map z1 (n, ...) under the class indices y (n,) to z'1 (n, ...) and log |det dh/dz1| = 0 (n,)."""
        return z1 - self.means[y], z1.new_zeros(len(z1))

    def density_terms(self, z1: Tensor, y: Tensor) -> Tensor:
        """Return log N(z'1; 0, 1) value by value, (n, 1, ...), nats: this head has no flows."""
        return standard_normal_terms(z1 - self.means[y])[:, None]

    def shared_log_det(self) -> Tensor:
        """Return 0: a shift has no log-determinant."""
        return self.means.new_zeros(())

    def inverse(self, z1_prime: Tensor, y: Tensor) -> Tensor:
        """Map z'1 (n, ...) under the class indices y (n,) back to z1 (n, ...)."""
        return z1_prime + self.means[y]
