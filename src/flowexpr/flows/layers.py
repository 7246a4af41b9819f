"""The layers of Glow: ActNorm, invertible 1x1 convolution, affine coupling, squeeze and split.

One step of flow is ActNorm, then a 1x1 convolution that mixes the channels, then an affine coupling that
rescales half of the channels by what a small network reads in the other half. A squeeze trades height and
width for channels; a split sends half of the channels away as a finished latent, whose Gaussian prior is read
from the half that stays.

References
----------
.. [1] Kingma & Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018,
   https://arxiv.org/abs/1807.03039
.. [2] Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP", 2017,
   https://arxiv.org/abs/1605.08803
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flowexpr.flows.networks import CouplingNetwork, Projection

LOG_SCALE_BOUND = 2.0
"""Largest |log scale| of a coupling: a smooth bound keeps the inverse well conditioned."""

SMALLEST_STD = 1e-2
"""Channels that vary less than this in the first batch are not scaled up further by ActNorm."""

LOG_2PI = math.log(2 * math.pi)


def soft_bound(x: Tensor, bound: float) -> Tensor:
    """Squash x smoothly into (-bound, bound), with slope 1 at zero."""
    return bound * torch.tanh(x / bound)


def sum_over_dims(x: Tensor) -> Tensor:
    """Sum all but the first dimension: (n, ...) -> (n,)."""
    return x.flatten(1).sum(1)


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """Log-density of N(0, I) at z, in nats: (n, ...) -> (n,)."""
    return sum_over_dims(standard_normal_terms(z))


def standard_normal_terms(z: Tensor) -> Tensor:
    """Log-density of N(0, 1) at every value of z, in nats."""
    return -0.5 * (z.square() + LOG_2PI)


def _per_channel(parameter: Tensor, x: Tensor) -> Tensor:
    """View a (C,) parameter so that it broadcasts over x of shape (n, C) or (n, C, H, W)."""
    return parameter.view(1, -1, *([1] * (x.ndim - 2)))


def n_positions(x: Tensor) -> int:
    """Return the number of positions of x, (n, C) or (n, C, H, W): 1 or H * W."""
    return math.prod(x.shape[2:])


class ActNorm(nn.Module):
    """Scale and shift each channel; the first training batch sets them to zero mean and unit variance [1]_.

    Parameters
    ----------
    channels : int
        Number of channels C.

    Attributes
    ----------
    initialised : Tensor of shape (), bool
        Whether the first batch has been seen. A buffer, so that it is saved and loaded with the weights.
    """

    initialised: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.register_buffer("initialised", torch.tensor(False))
        self._seen = False  # what the buffer says, without asking the device at every step

    def waits(self) -> bool:
        """Tell whether the next batch is the first one to train on."""
        if self.training and not self._seen:
            self._seen = bool(self.initialised)
            return not self._seen
        return False

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (n, C, ...) to z of its shape and log |det dz/dx| (n,); the first training batch sets the layer."""
        if self.waits():
            self._initialise(x)
        z = (x + _per_channel(self.bias, x)) * _per_channel(self.log_scale.exp(), x)
        return z, (n_positions(x) * self.log_scale.sum()).expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """Map z (n, C, ...) back to x."""
        return z * _per_channel((-self.log_scale).exp(), z) - _per_channel(self.bias, z)

    @torch.no_grad()
    def _initialise(self, x: Tensor) -> None:
        values = x.transpose(0, 1).flatten(1)  # (C, n * positions)
        self.bias.copy_(-values.mean(1))
        self.log_scale.copy_(-values.std(1, correction=0).clamp_min(SMALLEST_STD).log())
        self.initialised.fill_(True)


class InvertibleConv1x1(nn.Module):
    """Mix the channels by an invertible matrix W = P L (U + diag(s)), a random rotation at first [1]_.

    The determinant is the product of s, so it costs C operations instead of C**3.

    Parameters
    ----------
    channels : int
        Number of channels C.
    generator : torch.Generator, optional
        Source of the rotation.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, channels: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        rotation = torch.linalg.qr(torch.randn(channels, channels, generator=generator, dtype=torch.float64))[0]
        p, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.register_buffer("permutation", p.float())
        self.register_buffer("sign", diagonal.sign().float())
        self.lower = nn.Parameter(lower.tril(-1).float())
        self.upper = nn.Parameter(upper.triu(1).float())
        self.log_diagonal = nn.Parameter(diagonal.abs().log().float())

    def weight(self) -> Tensor:
        """Return the matrix W, (C, C)."""
        return compose_lu(self.permutation, self.lower, self.upper, self.sign * self.log_diagonal.exp())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (n, C, ...) to z of its shape and log |det dz/dx| (n,)."""
        return mix_channels(x, self.weight()), (n_positions(x) * self.log_diagonal.sum()).expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """Map z (n, C, ...) back to x."""
        return mix_channels(z, torch.linalg.inv(self.weight().double()).to(z.dtype))


def compose_lu(permutation: Tensor, lower: Tensor, upper: Tensor, diagonal: Tensor) -> Tensor:
    """Return P (L + I) (U + diag(s)) of matrices (..., C, C), L and U strictly triangular, and s (..., C)."""
    identity = torch.eye(diagonal.shape[-1], dtype=diagonal.dtype, device=diagonal.device)
    return permutation @ ((lower.tril(-1) + identity) @ (upper.triu(1) + torch.diag_embed(diagonal)))


def mix_channels(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply the channels of x, (n, C) or (n, C, H, W), by a matrix (C, C), and add a bias (C,)."""
    if x.ndim == 2:
        return F.linear(x, weight, bias)
    return F.conv2d(x, weight[:, :, None, None], bias)


class AffineCoupling(nn.Module):
    """Scale and shift half of the channels by what a network reads in the other half [2]_.

    With ``n_classes`` the network also sees the class, as constant one-hot planes beside its input (equation 2
    of the paper). The label is never part of what is transformed, so the layer is a bijection for every class.

    Parameters
    ----------
    channels : int
        Number of channels C; the first C // 2 are read, the others transformed.
    hidden_channels : int
        Width of the network.
    kernel_size : int
        3 for images, 0 for vectors.
    n_classes : int, default=0
        Number of classes of a conditional coupling; 0 for none.
    label_only : bool, default=False
        Let the network see the class alone and none of the channels, so that scale and shift depend on it alone.
    generator : torch.Generator, optional
        Source of the initial weights.
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: int,
        kernel_size: int = 3,
        *,
        n_classes: int = 0,
        label_only: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.n_read = channels // 2
        self.label_only = label_only
        self.network = CouplingNetwork(
            0 if label_only else self.n_read,
            hidden_channels,
            2 * (channels - self.n_read),
            kernel_size,
            n_classes=n_classes,
            generator=generator,
        )

    def forward(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map x (n, C, ...), under the class indices y (n,), to z of its shape and log |det dz/dx| (n,)."""
        z, log_scale = self.transform(x, y)
        return z, sum_over_dims(log_scale)

    def transform(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return z and the log-determinant value by value: the log scales of the changed half, (n, C - C // 2, ...)."""
        read, changed = self.halves(x)
        shift, log_scale = self.shift_and_log_scale(read, y)
        return torch.cat([read, torch.addcmul(shift, changed, log_scale.exp())], 1), log_scale

    def inverse(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map z (n, C, ...), under the class indices y (n,), back to x."""
        read, changed = self.halves(z)
        shift, log_scale = self.shift_and_log_scale(read, y)
        return torch.cat([read, (changed - shift) * (-log_scale).exp()], 1)

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the channels of x that are read, and those that are changed."""
        read, changed = x.split([self.n_read, x.shape[1] - self.n_read], 1)
        return read, changed

    def shift_and_log_scale(self, read: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return what the network makes of the channels that it reads: (n, C - C // 2, ...) twice."""
        if self.label_only:
            read = read[:, :0]
        shift, log_scale = self.network(read, y).chunk(2, 1)
        return shift, soft_bound(log_scale, LOG_SCALE_BOUND)


class FlowStep(nn.Module):
    """One step of flow: ActNorm, invertible 1x1 convolution, affine coupling [1]_.

    Takes the parameters of `AffineCoupling`.
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: int,
        kernel_size: int = 3,
        *,
        n_classes: int = 0,
        label_only: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.actnorm = ActNorm(channels)
        self.conv1x1 = InvertibleConv1x1(channels, generator=generator)
        self.coupling = AffineCoupling(
            channels,
            hidden_channels,
            kernel_size,
            n_classes=n_classes,
            label_only=label_only,
            generator=generator,
        )

    def forward(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map x (n, C, ...), under the class indices y (n,), to z of its shape and log |det dz/dx| (n,)."""
        x, norm_log_det = self.actnorm(x)
        x, conv_log_det = self.conv1x1(x)
        z, coupling_log_det = self.coupling(x, y)
        return z, norm_log_det + conv_log_det + coupling_log_det

    def inverse(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map z (n, C, ...), under the class indices y (n,), back to x."""
        return self.actnorm.inverse(self.conv1x1.inverse(self.coupling.inverse(z, y)))


class Squeeze(nn.Module):
    """Trade space for channels: (n, C, H, W) -> (n, 4C, H/2, W/2), each 2x2 patch becoming 4 channels [2]_."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map x (n, C, H, W) to z (n, 4C, H/2, W/2) and log |det dz/dx| = 0 (n,)."""
        return F.pixel_unshuffle(x, 2), x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """Map z (n, 4C, H/2, W/2) back to x (n, C, H, W)."""
        return F.pixel_shuffle(z, 2)


class Parted(NamedTuple):
    """What a `Split` makes of a batch of n samples.

    Attributes
    ----------
    stay, leave : Tensor of shape (n, C / 2, H, W)
        The part that stays, and the latent that leaves.
    log_prob : Tensor of shape (n,)
        Log-density of the latent under its prior, in nats.
    normal : Tensor of shape (n, C / 2, H, W)
        The latent in units of its prior: standard normal where the prior is right.
    """

    stay: Tensor
    leave: Tensor
    log_prob: Tensor
    normal: Tensor


class Split(nn.Module):
    """Send half of the channels away as a latent, with a Gaussian prior learned from the half that stays [1]_.

    Parameters
    ----------
    channels : int
        Number of channels C, even; C / 2 stay.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.n_stay = channels // 2
        self.n_leave = channels - self.n_stay
        self.prior = Projection(self.n_stay, 2 * self.n_leave, kernel_size=3)

    def forward(self, x: Tensor) -> Parted:
        """Part x (n, C, H, W) into what stays and what leaves."""
        stay, leave = x[:, : self.n_stay], x[:, self.n_stay :]
        mean, log_std = self._mean_and_log_std(stay)
        normal = (leave - mean) * (-log_std).exp()
        return Parted(stay, leave, standard_normal_log_prob(normal) - sum_over_dims(log_std), normal)

    def inverse(self, stay: Tensor, leave: Tensor) -> Tensor:
        """Put the part that stays and the latent that left together again: (n, C, H, W)."""
        return torch.cat([stay, leave], 1)

    def sample(self, stay: Tensor, temperature: float, generator: torch.Generator | None = None) -> Tensor:
        """Draw the latent that leaves from its prior given the part that stays; the scale is times `temperature`."""
        noise = torch.randn((len(stay), self.n_leave, *stay.shape[2:]), generator=generator, dtype=stay.dtype)
        return self.from_normal(stay, temperature * noise.to(stay.device))

    def from_normal(self, stay: Tensor, normal: Tensor) -> Tensor:
        """Return the latent that leaves, given the part that stays and the latent in units of its prior."""
        mean, log_std = self._mean_and_log_std(stay)
        return mean + log_std.exp() * normal

    def _mean_and_log_std(self, stay: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.prior(stay).chunk(2, 1)
        return mean, soft_bound(log_std, 2 * LOG_SCALE_BOUND)
