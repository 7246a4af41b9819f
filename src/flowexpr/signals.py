"""How arrays become what a flow models, and back: images are quantised, vectors are standardised.

A flow needs a continuous variable. The 2**n_bits levels of a pixel become equal intervals of [-0.5, 0.5); while
training, a uniform draw places every pixel in its interval, otherwise it stands in the middle, so that
decoding is rounding down, for encoded and for sampled images alike.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["ImageSignal", "Signal", "VectorSignal", "signal_from_state"]

ROUNDED = 0.15
"""Grey levels that a pixel may lie below its own by rounding: 3 / 255 * 255 is less than 3, float16 loses .06 of one,
and fractions written with three decimals .13."""

NOISE_SHARE = 0.6
"""Noise on standardised training vectors as a share of Silverman's bandwidth: enough that few rows in many
dimensions are not learned by heart, and repeated values have a bounded density."""


@dataclass(frozen=True)
class ImageSignal:
    """Images, flattened to rows of pixels, as a flow models them.

    Parameters
    ----------
    shape : tuple (height, width, channels)
        Shape of an image.
    input_range : tuple (low, high)
        What black and white are in the arrays: (0, 255) or (0, 1).
    n_bits : int
        Bits kept of a pixel, 1 to 8.
    dtype : str
        Numpy name of the arrays' type; decoded images have it.
    """

    shape: tuple[int, int, int]
    input_range: tuple[float, float]
    n_bits: int
    dtype: str

    kind: ClassVar[str] = "image"
    whole_range: ClassVar[float] = 1.0
    """From black to white, in the flow's variable."""

    @property
    def n_dims(self) -> int:
        """Number of values of one image, H * W * C."""
        return math.prod(self.shape)

    @property
    def log_volume(self) -> float:
        """What turns a log-density of the flow's variable into log P of the quantised image, in nats."""
        return -self.n_dims * self.n_bits * math.log(2)

    def pixels(self, rows: NDArray[Any]) -> Tensor:
        """Return rows (n, H * W * C) as float32 pixels 0 to 255 of shape (n, C, H, W)."""
        # Torch takes no read-only array, a memmap's say, and native number types alone.
        dtype = np.uint8 if rows.dtype == np.uint8 else np.float32
        writable = np.require(rows, dtype, requirements=["C", "W"])
        images = torch.from_numpy(writable).view(-1, *self.shape).permute(0, 3, 1, 2)
        pixels = images.to(torch.float32)
        if rows.dtype != np.uint8 and self.input_range[1] == 1:
            pixels = pixels * 255
        return pixels

    def to_model(self, rows: NDArray[Any]) -> Tensor:
        """Return the flow's variable for rows (n, H * W * C): (n, C, H, W), every pixel mid-interval."""
        return self.quantise(self.pixels(rows), 0.5)

    def quantise(self, pixels: Tensor, place: Tensor | float) -> Tensor:
        """Return the flow's variable for pixels 0 to 255; `place` in [0, 1) is where in its interval each lies."""
        levels = ((pixels + ROUNDED) * 2.0 ** (self.n_bits - 8)).floor().clamp(0, 2**self.n_bits - 1)
        return (levels + place) * 2.0**-self.n_bits - 0.5

    def training_variable(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Return the flow's variable for pixels, each at a random place of its interval (dequantisation)."""
        return self.quantise(pixels, torch.rand(pixels.shape, generator=generator, dtype=torch.float32))

    def to_rows(self, x: Tensor) -> NDArray[Any]:
        """Undo `to_model`: the quantised pixels as rows (n, H * W * C) in the arrays' type and range."""
        levels = ((x + 0.5) * 2.0**self.n_bits).floor().clamp(0, 2**self.n_bits - 1)
        pixels = (levels * 2.0 ** (8 - self.n_bits)).permute(0, 2, 3, 1).flatten(1).cpu().numpy()
        if self.input_range[1] == 1:
            pixels = pixels / 255
        return pixels.astype(self.dtype)

    def limit(self, x: Tensor) -> Tensor:
        """Return x with every value where a pixel can be."""
        return x.clamp(-0.5, 0.5)

    def mirror(self, x: Tensor) -> Tensor:
        """Flip images (n, C, H, W) left to right."""
        return x.flip(-1)

    def state(self) -> dict[str, Any]:
        """Return what `signal_from_state` needs, as JSON holds it."""
        return {
            "kind": self.kind,
            "shape": list(self.shape),
            "input_range": list(self.input_range),
            "n_bits": self.n_bits,
            "dtype": self.dtype,
        }


@dataclass(frozen=True)
class VectorSignal:
    """Vectors of features as a flow models them: standardised, in float64 until the last step.

    Parameters
    ----------
    mean, scale : tuple of float
        Of each feature; a constant feature has scale 1.
    noise : float
        Standard deviation of the noise on standardised training vectors.
    constant : tuple of bool
        Of each feature.
    dtype : str
        Numpy name of the type of the arrays that come back.

    References
    ----------
    .. [1] Silverman, "Density Estimation for Statistics and Data Analysis", 1986, section 4.3.2: the bandwidth
       (4 / (d + 2))**(1 / (d + 4)) * n**(-1 / (d + 4)) of n rows with d standardised features.
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    noise: float
    constant: tuple[bool, ...]
    dtype: str = "float64"

    kind: ClassVar[str] = "vector"
    whole_range: ClassVar[float] = 5.0
    """In which nearly all values of a feature lie, standard deviations: from 2.5 below the mean to 2.5 above it."""

    @classmethod
    def of(cls, rows: NDArray[Any]) -> "VectorSignal":
        """Measure the mean and the standard deviation of rows (n, n_features), and choose the noise by their number."""
        n, d = rows.shape
        mean: NDArray[np.float64] = np.asarray(np.mean(rows, axis=0, dtype=np.float64))
        scale: NDArray[np.float64] = np.asarray(np.std(rows, axis=0, dtype=np.float64))
        # A column whose spread is rounding error of its mean is constant.
        constant = scale <= 10 * np.finfo(np.float64).eps * np.abs(mean)
        bandwidth = (4 / ((d + 2) * n)) ** (1 / (d + 4))
        return cls(
            tuple(np.where(constant, rows[0].astype(np.float64), mean).tolist()),
            tuple(np.where(constant, 1.0, scale).tolist()),
            NOISE_SHARE * bandwidth,
            constant=tuple(constant.tolist()),
        )

    def also_of(self, other: "VectorSignal") -> "VectorSignal":
        """Return the same standardisation for the rows of another one too: constant is what is so in both."""
        both = zip(self.constant, self.mean, other.constant, other.mean, strict=True)
        return replace(self, constant=tuple(was and is_so and a == b for was, a, is_so, b in both))

    @property
    def n_dims(self) -> int:
        """Number of features."""
        return len(self.mean)

    @property
    def log_volume(self) -> float:
        """What turns a log-density of standardised vectors into one in original units, in nats."""
        return -float(np.sum(np.log(self.scale)))

    def to_model(self, rows: NDArray[Any]) -> Tensor:
        """Return standardised rows (n, n_features), float64."""
        return torch.from_numpy((rows.astype(np.float64) - np.array(self.mean)) / np.array(self.scale))

    def training_variable(self, standardised: Tensor, generator: torch.Generator) -> Tensor:
        """Return standardised vectors with Gaussian noise (see NOISE_SHARE)."""
        noise = torch.randn(standardised.shape, generator=generator, dtype=standardised.dtype)
        return standardised + self.noise * noise

    def to_rows(self, x: Tensor) -> NDArray[Any]:
        """Undo `to_model`."""
        return (x.double().cpu().numpy() * np.array(self.scale) + np.array(self.mean)).astype(self.dtype)

    def limit(self, x: Tensor) -> Tensor:
        """Return x with constant features, to which training adds noise, at their value; others may have any."""
        if not any(self.constant):
            return x
        return x.masked_fill(torch.tensor(self.constant, device=x.device), 0.0)

    def mirror(self, x: Tensor) -> Tensor:
        """Raise, since a vector has no mirror image."""
        raise TypeError("a vector has no mirror image.")

    def state(self) -> dict[str, Any]:
        """Return what `signal_from_state` needs, as JSON holds it."""
        return {
            "kind": self.kind,
            "mean": list(self.mean),
            "scale": list(self.scale),
            "noise": self.noise,
            "dtype": self.dtype,
            "constant": list(self.constant),
        }


Signal = ImageSignal | VectorSignal


def signal_from_state(state: dict[str, Any]) -> Signal:
    """Rebuild a signal from what its `state` returned."""
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in state.items()}
    kind = fields.pop("kind")
    return ImageSignal(**fields) if kind == ImageSignal.kind else VectorSignal(**fields)
