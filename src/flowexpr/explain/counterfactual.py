"""The nearest face of another class: a search in the latent space for the least change that the model is sure of.

A descent in the latent space (`flowexpr.explain.descent`) makes the model sure of the class for as few grey levels as
may be, with the other latents a little nearer to their most likely values. Then the shortest step on the way found is
searched, the images decoded and quantised as all images are. What the flow takes for no image at all is none of them,
however sure the model is of its class: far from all faces, h may say anything. Where no step is sure enough, the surest
one that was tried is shown, and `Counterfactual.reached` is False.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowexpr.explain.descent import START, Aim, descend, least_log_prob
from flowexpr.explain.evidence import Decided, EvidenceModel

__all__ = ["Counterfactual", "aim_at_class", "find_counterfactuals"]

BOLDER_RATE = 0.03
"""Learning rate of the free part for samples where the first descent was not enough: nearer to what only this model
believes."""

SURER = 0.4
"""How far beyond the confidence asked for the descent aims, as a share of the rest: images are quantised afterwards."""

PRICE_OF_PIXELS = 1.5
"""Nats for a change of all values by the whole range from black to white."""

CALM = 0.16
"""Share by which the other latents come nearer to the means of their priors; it makes up for the rounding to pixels."""

STRENGTHS = (1.0, 1.25, 1.6, 2.0, 3.0)
"""Of the step found, tried one after another until one is enough."""

SHORTER = (0.75, 0.5, 0.25)
"""Tried where none of them leads to an image."""

N_QUARTERINGS = 2
"""Times the interval that holds the shortest step is divided into four, the points between tried in one batch."""

STRIP = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Where on the way the strip of images is taken, as shares of it."""


@dataclass(frozen=True, eq=False, repr=False)  # arrays have no truth value, and fill pages
class Counterfactual:
    """A sample like the one explained, which the model takes for another class.

    Parameters
    ----------
    label : label
        The class that was looked for, and that it is taken for where `reached`.
    image : ndarray
        In the shape of the training samples.
    probabilities : ndarray of shape (n_classes,)
        What the model says of `image`.
    reached : bool
        Whether `label` is the most probable class of `image`, with the confidence asked for.
    found : bool
        Whether anything that was tried is like the samples that the model knows; where not, `image` and all of `strip`
        are the sample explained.
    strip : ndarray of shape (n_steps, ...)
        Samples from the one explained (quantised) to `image`.
    strip_probabilities : ndarray of shape (n_steps, n_classes)
        What the model says of each.
    """

    label: Any
    image: NDArray[Any]
    probabilities: NDArray[np.float64]
    reached: bool
    found: bool
    strip: NDArray[Any]
    strip_probabilities: NDArray[np.float64]

    def __repr__(self) -> str:
        """Return what was looked for, and how far it was found."""
        return f"<Counterfactual: label={self.label}, reached={self.reached}, found={self.found}>"


@dataclass(frozen=True)
class FoundSteps:
    """What the search returns for a batch of n samples.

    Parameters
    ----------
    rows : ndarray of shape (n_steps, n, n_features)
        The strips.
    probabilities : ndarray of shape (n_steps, n, n_classes)
        What the model says of them.
    reached, found : ndarray of shape (n,)
        As in `Counterfactual`.
    """

    rows: NDArray[Any]
    probabilities: NDArray[np.float64]
    reached: NDArray[np.bool_]
    found: NDArray[np.bool_]


def aim_at_class(decided: Decided, n_classes: int, confidence: float) -> Aim:
    """Return what the descent to the nearest sample of class `decided.b` looks for.

    Parameters
    ----------
    decided : Decided
        The n samples, and the classes a that the model says and b that it shall say.
    n_classes : int
        Number of classes.
    confidence : float
        Least probability of class b.
    """
    everyone = torch.arange(len(decided), device=decided.a.device)
    weights = decided.z1.new_zeros(len(decided), n_classes)
    weights[everyone, decided.b], weights[everyone, decided.a] = START, -START
    want = math.log(confidence + SURER * (1 - confidence))

    def doubt(log_proba: Tensor) -> Tensor:
        return (want - log_proba[everyone, decided.b]).relu()

    return Aim(decided, [(1 - CALM) * level for level in decided.normal], weights, doubt, PRICE_OF_PIXELS)


def find_counterfactuals(
    model: EvidenceModel, decided: Decided, means: Tensor, confidence: float, step: Tensor
) -> FoundSteps:
    """Find the shortest step in the latent space that makes the model say class `decided.b`.

    Parameters
    ----------
    model : EvidenceModel
        The trained model.
    decided : Decided
        The n samples, and the classes a that the model says and b that it shall say.
    means : Tensor of shape (n_classes, ...)
        Averages of z1.
    confidence : float
        Least probability of class b.
    step : Tensor of shape (n, ...)
        What `descend` found for `aim_at_class`.

    Returns
    -------
    found : FoundSteps
        The strip from each sample to its counterfactual; to the surest step tried where none is sure enough.
    """
    allowed = least_log_prob(model, decided)
    way = _Way(model, decided, step)
    strength, reached, surest = _shortest(way, decided.b, confidence, allowed)
    left = torch.nonzero(~reached)[:, 0]
    if len(left):
        few = decided[left]
        (bolder_step,) = descend(model, means, [aim_at_class(few, len(means), confidence)], BOLDER_RATE)
        bolder = _Way(model, few, bolder_step)
        bolder_strength, reached[left], bolder_surest = _shortest(bolder, few.b, confidence, allowed[left])
        takes = reached[left] | (bolder_surest > surest[left])
        way.step[left[takes]], strength[left[takes]] = bolder.step[takes], bolder_strength[takes]
    signal, n = model.predictor.signal, len(strength)
    shares = torch.tensor(STRIP, dtype=strength.dtype, device=strength.device)
    everyone = torch.arange(n, device=strength.device)
    images = way.images((shares[:, None] * strength).flatten(), everyone.repeat(len(STRIP)))
    found = strength > 0  # else nothing tried was an image
    nowhere = (~found).repeat(len(STRIP))
    nowhere[:n] = True
    images[nowhere] = decided.x.repeat(len(STRIP), *[1] * (decided.x.ndim - 1))[nowhere]
    probabilities = torch.softmax(model.logits(images), 1).cpu().numpy()
    return FoundSteps(
        signal.to_rows(images).reshape(len(STRIP), n, -1),
        probabilities.reshape(len(STRIP), n, -1),
        reached.cpu().numpy(),
        found.cpu().numpy(),
    )


class _Way:
    """The faces at every strength of a step of z1, the other latents nearly staying where they are in their priors."""

    def __init__(self, model: EvidenceModel, decided: Decided, step: Tensor) -> None:
        self.model, self.z1, self.normal, self.step = model, decided.z1, decided.normal, step

    def images(self, strength: Tensor, rows: Tensor) -> Tensor:
        """Return the flow's variable of some samples, each at its strength, quantised as an image of it would be."""
        scale = strength.to(self.z1.dtype).view(-1, *[1] * (self.z1.ndim - 1))
        z1 = self.z1[rows] + scale * self.step[rows]
        calm = 1 - CALM * strength.clamp(max=1).to(self.z1.dtype)
        normal = [level[rows] * calm.view(-1, *[1] * (level.ndim - 1)) for level in self.normal]
        signal = self.model.predictor.signal
        x = self.model.decode(z1, normal)
        return signal.to_model(signal.to_rows(x)).to(x.device, x.dtype)


def _shortest(way: _Way, target: Tensor, confidence: float, least_log_prob: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the least strength (n,) at which the model says the target of an image, and whether there is one.

    Where there is none, the strength is that of the surest image tried; 0 where nothing tried is an image. The last is
    how probable the target was at most (n,).
    """
    surest = target.new_zeros(len(target), dtype=torch.float64)
    best = torch.zeros_like(surest)

    def is_enough(strength: Tensor, rows: Tensor) -> Tensor:
        probabilities, log_prob = way.model.probabilities_and_log_prob(way.images(strength, rows))
        of_target = probabilities.gather(1, target[rows, None])[:, 0]
        of_target[~(log_prob >= least_log_prob[rows])] = -1.0  # not a number is no image either
        surer = of_target > surest[rows]
        surest[rows[surer]], best[rows[surer]] = of_target[surer], strength[surer]
        return (of_target >= confidence) & (probabilities.argmax(1) == target[rows])

    low, high = torch.zeros_like(surest), torch.ones_like(surest)
    reached = torch.zeros_like(target, dtype=torch.bool)
    before = 0.0
    for strength in STRENGTHS:
        left = torch.nonzero(~reached)[:, 0]
        if not len(left):
            break
        hit = left[is_enough(high.new_full((len(left),), strength), left)]
        low[hit], high[hit], reached[hit] = before, strength, True
        before = strength
    for strength in SHORTER:
        left = torch.nonzero(~reached & (best == 0))[:, 0]
        hit = left[is_enough(high.new_full((len(left),), strength), left)] if len(left) else left
        high[hit], reached[hit] = strength, True
    rows = torch.nonzero(reached)[:, 0]
    for _ in range(N_QUARTERINGS if len(rows) else 0):
        ends = torch.lerp(low[rows], high[rows], torch.linspace(0, 1, 5).to(high)[:, None])
        enough = is_enough(ends[1:-1].flatten(), rows.repeat(3)).view(3, -1)
        first = torch.cat([enough, torch.ones_like(enough[:1])]).int().argmax(0, keepdim=True)
        low[rows], high[rows] = ends.gather(0, first)[0], ends.gather(0, first + 1)[0]
    return torch.where(reached, high, best), reached, surest
