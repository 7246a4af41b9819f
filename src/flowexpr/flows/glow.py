"""Glow, the backbone f for images: x -> Z = {z_n, ..., z2, z1}, one latent leaving at the end of every block.

References
----------
.. [1] Kingma & Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", 2018,
   https://arxiv.org/abs/1807.03039
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from flowexpr.flows.layers import Parted, Split, Squeeze
from flowexpr.flows.steps import FlowSteps


class Latents(NamedTuple):
    """What a backbone makes of a batch of n samples.

    Attributes
    ----------
    z : tuple of Tensor
        The latents z1 (the deepest), z2, ..., z_n, each (n, channels, ...).
    log_dets : tuple of Tensor
        Log-determinant of the block that each latent left, (n,) each, in nats.
    log_priors : tuple of Tensor
        Log-density of z2 ... z_n under their learned priors, (n,) each, in nats. z1's is the head's to give.
    normal : tuple of Tensor
        z2 ... z_n in units of their priors: standard normal where the priors are right.
    """

    z: tuple[Tensor, ...]
    log_dets: tuple[Tensor, ...]
    log_priors: tuple[Tensor, ...]
    normal: tuple[Tensor, ...]

    @property
    def log_prob(self) -> Tensor:
        """All of log p(x|y) but what z1 contributes, (n,), in nats."""
        return torch.stack(self.log_dets + self.log_priors).sum(0)


class Block(nn.Module):
    """A squeeze and a run of flow steps, all on one resolution."""

    def __init__(
        self, channels: int, n_flows: int, hidden_channels: int, *, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.squeeze = Squeeze()
        self.steps = FlowSteps(n_flows, 4 * channels, hidden_channels, generator=generator)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.steps(self.squeeze(x)[0])  # a squeeze moves values about: its log-determinant is 0

    def inverse(self, z: Tensor) -> Tensor:
        return self.squeeze.inverse(self.steps.inverse(z))


class Glow(nn.Module):
    """The Glow backbone f [1]_.

    Parameters
    ----------
    image_shape : tuple (channels, height, width)
        Height and width divisible by 2**n_blocks.
    n_blocks : int, default=4
        Number of blocks, and so of latents.
    n_flows : int, default=32
        Flow steps in a block.
    hidden_channels : int, default=512
        Width of the coupling networks.
    generator : torch.Generator, optional
        Source of the initial weights.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        n_blocks: int = 4,
        n_flows: int = 32,
        hidden_channels: int = 512,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        channels, height, width = image_shape
        if height % 2**n_blocks or width % 2**n_blocks:
            raise ValueError(
                f"n_blocks={n_blocks} needs sides divisible by {2**n_blocks}, but the image is {height} x {width}."
            )
        self.blocks, self.splits = nn.ModuleList(), nn.ModuleList()
        for _ in range(n_blocks - 1):
            self.blocks.append(Block(channels, n_flows, hidden_channels, generator=generator))
            self.splits.append(Split(4 * channels))
            channels = 2 * channels
        self.last_block = Block(channels, n_flows, hidden_channels, generator=generator)
        self.hidden_size = max(hidden_channels, 2 * image_shape[0]) * (height // 2) * (width // 2)
        self.z1_shape = (4 * channels, height // 2**n_blocks, width // 2**n_blocks)

    def forward(self, x: Tensor) -> Latents:
        """Map images (n, C, H, W) to their latents."""
        log_dets: list[Tensor] = []
        parted: list[Parted] = []
        for block, split in self._levels():
            x, log_det = block(x)
            log_dets.append(log_det)
            parted.append(split(x))
            x = parted[-1].stay
        z1, log_det = self.last_block(x)
        parted.reverse()
        return Latents(
            (z1, *(part.leave for part in parted)),
            (log_det, *reversed(log_dets)),
            tuple(part.log_prob for part in parted),
            tuple(part.normal for part in parted),
        )

    def inverse(self, z: tuple[Tensor, ...]) -> Tensor:
        """Map latents (z1, z2, ..., z_n) back to images (n, C, H, W)."""
        x = self.last_block.inverse(z[0])
        for (block, split), leave in zip(reversed(self._levels()), z[1:], strict=True):
            x = block.inverse(split.inverse(x, leave))
        return x

    def inverse_of_normal(self, z1: Tensor, normal: Sequence[Tensor]) -> Tensor:
        """Return the images (n, C, H, W) of z1 and of z2 ... z_n in units of their priors, as in `Latents.normal`."""
        x = self.last_block.inverse(z1)
        for (block, split), level in zip(reversed(self._levels()), normal, strict=True):
            x = block.inverse(split.inverse(x, split.from_normal(x, level)))
        return x

    def sample(self, z1: Tensor, temperature: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Draw images (n, C, H, W) whose deepest latent is z1, the others from their priors."""
        x = self.last_block.inverse(z1)
        for block, split in reversed(self._levels()):
            x = block.inverse(split.inverse(x, split.sample(x, temperature, generator)))
        return x

    def _levels(self) -> list[tuple[Block, Split]]:
        """Return all blocks but the last, each with the split after it."""
        return [(cast(Block, block), cast(Split, split)) for block, split in zip(self.blocks, self.splits, strict=True)]
