"""The nearest face of another class: the way to it in the latent space, and how far one has to go.

The way of every latent is the difference of its averages under the two classes. How far is searched: the shortest step
along it, decoded and quantised to an image, to which the model gives the probability asked for. Where no step does, as
happens often with a model that is seldom that sure, `Counterfactual.reached` is False.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowexpr.explain.evidence import EvidenceModel

__all__ = ["Counterfactual", "find_counterfactuals"]

COARSE = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
"""Strengths that are tried, weakest first."""

N_BISECTIONS = 3
"""Times the interval that holds the shortest step is halved."""

STRIP = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Where on the way the strip of images is taken, as shares of it."""


@dataclass(frozen=True)
class Counterfactual:
    """A sample like the one explained, which the model takes for another class.

    Parameters
    ----------
    label : label
        The class it is taken for.
    image : ndarray
        In the shape of the training samples.
    probabilities : ndarray of shape (n_classes,)
        What the model says of `image`.
    reached : bool
        Whether the probability of `label` is the confidence asked for.
    strength : float
        How far along the way, 1 being the whole difference between the averages of the two classes.
    strip : ndarray of shape (n_steps, ...)
        Samples from the one explained (quantised) to `image`.
    strip_probabilities : ndarray of shape (n_steps, n_classes)
        What the model says of each.
    """

    label: Any
    image: NDArray[Any]
    probabilities: NDArray[np.float64]
    reached: bool
    strength: float
    strip: NDArray[Any]
    strip_probabilities: NDArray[np.float64]


@dataclass(frozen=True)
class FoundSteps:
    """What the search returns for a batch: rows (n_steps, n, n_features), probabilities, strengths and success."""

    rows: NDArray[Any]
    probabilities: NDArray[np.float64]
    strength: NDArray[np.float64]
    reached: NDArray[np.bool_]


def find_counterfactuals(
    model: EvidenceModel, z: list[Tensor], way: list[Tensor], target: Tensor, confidence: float
) -> FoundSteps:
    """Find the shortest step along a way in the latent space that makes the model say `target`.

    Parameters
    ----------
    model : EvidenceModel
        The trained model.
    z, way : list of Tensor
        Latents z1, z2, ... of n samples, and the way that each goes per unit of strength.
    target : Tensor of shape (n,)
        Class indices.
    confidence : float
        Least probability of the target.

    Returns
    -------
    found : FoundSteps
        The strip from each sample to its counterfactual; the farthest step tried where none is sure enough.
    """

    def reaches(strength: Tensor, rows: Tensor) -> Tensor:
        x = _decoded(model, z, way, strength, rows)
        return torch.softmax(model.logits(x), 1).gather(1, target[rows, None])[:, 0] >= confidence

    n = len(target)
    low, high = target.new_zeros(n, dtype=torch.float32), target.new_full((n,), COARSE[-1], dtype=torch.float32)
    reached = torch.zeros_like(target, dtype=torch.bool)
    for before, strength in zip((0.0, *COARSE), COARSE, strict=False):
        left = torch.nonzero(~reached)[:, 0]
        if not len(left):
            break
        hit = left[reaches(high.new_full((len(left),), strength), left)]
        low[hit], high[hit], reached[hit] = before, strength, True
    rows = torch.nonzero(reached)[:, 0]
    for _ in range(N_BISECTIONS if len(rows) else 0):
        middle = (low[rows] + high[rows]) / 2
        enough = reaches(middle, rows)
        high[rows[enough]], low[rows[~enough]] = middle[enough], middle[~enough]
    everyone = torch.arange(n, device=target.device)
    steps = [_decoded(model, z, way, share * high, everyone) for share in STRIP]
    signal = model.predictor.signal
    return FoundSteps(
        np.stack([signal.to_rows(x) for x in steps]),
        np.stack([torch.softmax(model.logits(x), 1).cpu().numpy() for x in steps]),
        high.double().cpu().numpy(),
        reached.cpu().numpy(),
    )


def _decoded(model: EvidenceModel, z: list[Tensor], way: list[Tensor], strength: Tensor, rows: Tensor) -> Tensor:
    """Return the flow's variable of what the latents decode to, quantised as an image of it would be."""
    moved = [
        level[rows] + strength.view(-1, *[1] * (level.ndim - 1)) * by[rows] for level, by in zip(z, way, strict=True)
    ]
    signal, x = model.predictor.signal, model.decode(moved)
    return signal.to_model(signal.to_rows(x)).to(x.device, x.dtype)
