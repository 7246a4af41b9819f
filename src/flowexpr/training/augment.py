"""Random changes of training images that keep the expression: mirror, small affine, light, erasing."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Augmentation = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]

ROTATION = 5.0
"""Largest rotation, degrees."""
SCALE = 0.05
"""Largest relative change of size."""
SHIFT = 0.03
"""Largest shift, as a share of the image's side."""
CONTRAST = 0.5
"""Largest relative change of contrast."""
BRIGHTNESS = 50.0
"""Largest change of brightness, grey levels of 255."""
ERASED_SHARE = (0.02, 0.15)
"""Smallest and largest share of the image that erasing covers, in half of the images."""


def augment_faces(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror, rotate, scale, shift, light and partly erase a batch of images, each at random.

    Parameters
    ----------
    pixels : Tensor of shape (n, C, H, W)
        Grey levels, 0 to 255.
    generator : torch.Generator
        Source of every draw.

    Returns
    -------
    pixels : Tensor of shape (n, C, H, W)
        Changed copies, within 0 to 255.
    """
    pixels = _affine(pixels, generator)
    n = len(pixels)
    contrast = 1 + CONTRAST * _symmetric(n, generator)
    brightness = BRIGHTNESS * _symmetric(n, generator)
    mean = pixels.mean((1, 2, 3), keepdim=True)
    lit = (pixels - mean) * contrast.view(-1, 1, 1, 1) + mean + brightness.view(-1, 1, 1, 1)
    return _erase(lit.clamp(0, 255), generator)


def augment_with(function: Augmentation, pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Apply a user's function of NHWC float32 arrays (0 to 255) to pixels (n, C, H, W)."""
    seed = int(torch.randint(2**62, (), generator=generator))
    images = pixels.permute(0, 2, 3, 1).numpy()
    changed = np.asarray(function(images.copy(), np.random.default_rng(seed)), dtype=np.float32)
    if changed.shape != images.shape:
        raise ValueError(
            f"augment was expected to return images of shape {images.shape}, but returned {changed.shape}. "
            "Return an array of the shape that came in."
        )
    return torch.from_numpy(np.require(changed, requirements=["C", "W"])).permute(0, 3, 1, 2).clamp(0, 255)


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    """Draw from 0 to 1, in float32 whatever the process makes by default."""
    return torch.rand(shape, generator=generator, dtype=torch.float32)


def _symmetric(n: int, generator: torch.Generator) -> Tensor:
    return 2 * _uniform(generator, n) - 1


def _affine(pixels: Tensor, generator: torch.Generator) -> Tensor:
    n, _, height, width = pixels.shape
    angle = math.radians(ROTATION) * _symmetric(n, generator)
    size = 1 + SCALE * _symmetric(n, generator)
    mirror = torch.where(_uniform(generator, n) < 0.5, -1.0, 1.0).float()
    shift_x, shift_y = (2 * SHIFT * _symmetric(n, generator) for _ in range(2))
    cos, sin = angle.cos() * size, angle.sin() * size
    aspect = height / width
    rows = [mirror * cos, -sin * aspect, shift_x, mirror * sin / aspect, cos, shift_y]
    grid = F.affine_grid(torch.stack(rows, 1).view(n, 2, 3), [n, 1, height, width], align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def _erase(pixels: Tensor, generator: torch.Generator) -> Tensor:
    n, channels, height, width = pixels.shape
    low, high = ERASED_SHARE
    share = low + (high - low) * _uniform(generator, n)
    aspect = torch.exp(math.log(3) * _symmetric(n, generator))
    half_h, half_w = 0.5 * height * (share * aspect).sqrt(), 0.5 * width * (share / aspect).sqrt()
    centre_y = height * _uniform(generator, n)
    centre_x = width * _uniform(generator, n)
    chosen = _uniform(generator, n) < 0.5
    rows = (torch.arange(height, dtype=torch.float32) + 0.5 - centre_y[:, None]).abs() < half_h[:, None]
    columns = (torch.arange(width, dtype=torch.float32) + 0.5 - centre_x[:, None]).abs() < half_w[:, None]
    mask = (chosen[:, None, None] & rows[:, :, None] & columns[:, None, :])[:, None]
    grey = 255 * _uniform(generator, n, channels, 1, 1)
    return torch.where(mask, grey, pixels)
