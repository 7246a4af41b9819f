"""The model's own most neutral version of a face: where a map of the evidence starts from.

The nearest face that the model takes for one at rest; where it knows no such class, or says it already, the nearest one
that it takes for any class as much as for any other. It is found as counterfactuals are, by descent in the latent space
(`flowexpr.explain.descent`), and pixels are dear: what has no need to move stays, and gets no evidence on the way back.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from flowexpr.explain.descent import START, Aim, least_log_prob
from flowexpr.explain.evidence import Decided, EvidenceModel

__all__ = ["NeutralVersions", "Rest", "neutral_versions"]

PRICE_OF_PIXELS = 5.0
"""Nats for a change of all values by the whole range from black to white."""

CONFIDENCE, LEAST_CONFIDENCE = 0.94, 0.5
"""Probability of the class at rest that the descent aims at, and the least of what is called neutral."""

TIE, LARGEST_TIE, LARGEST_TIE_OF_TWO = 0.01, math.log(3), math.log(1.5)
"""Nats: how far the classes may lie below a tie of all in the mean, which the descent aims at (closer ties move many
more pixels); and how far apart any two may lie in what is called one: none is three times as probable as another, and
where there are but two, none has more than three fifths."""

STRENGTHS = (1.0, 0.5, 0.25)
"""Of the step found, tried one after another until one leads to an image; else the face is its own version."""


class Rest(NamedTuple):
    """What the model shall say of the neutral version of each of n samples.

    Attributes
    ----------
    label : Tensor of shape (n,)
        Index of the class at rest.
    is_tie : Tensor of shape (n,), bool
        Where it shall be a tie of all classes instead.
    """

    label: Tensor
    is_tie: Tensor

    def aim(self, decided: Decided, n_classes: int) -> Aim:
        """Return what the descent looks for near n samples, `decided.a` being what the model says of them."""
        weights = decided.z1.new_zeros(len(decided), n_classes)
        weights.scatter_(1, self.label[:, None], torch.where(self.is_tie, 0.0, START).to(weights)[:, None])
        weights.scatter_(1, decided.a[:, None], -START)
        return Aim(decided, decided.normal, weights, self._missing, PRICE_OF_PIXELS)

    def reached(self, log_proba: Tensor) -> Tensor:
        """Return whether samples are at rest (n,), by their log-probabilities (n, n_classes)."""
        at_rest = self._of_label(log_proba) >= math.log(LEAST_CONFIDENCE)
        apart = LARGEST_TIE if log_proba.shape[1] > 2 else LARGEST_TIE_OF_TWO
        return torch.where(self.is_tie, log_proba.amax(1) - log_proba.amin(1) <= apart, at_rest)

    def _missing(self, log_proba: Tensor) -> Tensor:
        """Return the nats that are missing (n,)."""
        unsure = math.log(CONFIDENCE) - self._of_label(log_proba)
        return torch.where(self.is_tie, _below_a_tie(log_proba) - TIE, unsure).relu()

    def _of_label(self, log_proba: Tensor) -> Tensor:
        return log_proba.gather(1, self.label[:, None])[:, 0]


class NeutralVersions(NamedTuple):
    """What was found for n samples.

    Attributes
    ----------
    x : Tensor of shape (n, ...)
        The versions as the flow's variable, not quantised; where none was found, the sample itself.
    probabilities : Tensor of shape (n, n_classes), float64
        What the model says of them.
    moved : Tensor of shape (n,), bool
        Whether it is another one than the sample.
    """

    x: Tensor
    probabilities: Tensor
    moved: Tensor


def neutral_versions(model: EvidenceModel, aim: Aim, step: Tensor) -> NeutralVersions:
    """Return a neutral version of each sample: as far as the step leads to an image, and no farther.

    Parameters
    ----------
    model : EvidenceModel
        The trained model.
    aim : Aim
        What was looked for.
    step : Tensor of shape (n, ...)
        What `descend` found.
    """
    decided = aim.decided
    allowed = least_log_prob(model, decided)
    said = torch.softmax(torch.from_numpy(decided.logits).to(step.device), 1)
    versions = NeutralVersions(decided.x.clone(), said, torch.zeros_like(decided.a, dtype=torch.bool))
    left = torch.arange(len(decided), device=step.device)
    for strength in STRENGTHS:
        z1, normal = decided.z1[left] + strength * step[left], [level[left] for level in aim.normal]
        x = model.decode(z1, normal)
        probabilities, log_prob = model.probabilities_and_log_prob(x)
        is_image = log_prob >= allowed[left]  # not a number is none
        hit, left = left[is_image], left[~is_image]
        versions.x[hit], versions.probabilities[hit] = x[is_image], probabilities[is_image]
        versions.moved[hit] = True
        if not len(left):
            break
    return versions


def _below_a_tie(log_proba: Tensor) -> Tensor:
    """Return the mean nats (n,) that classes lie below a tie of all, by their log-probabilities (n, n_classes)."""
    return -log_proba.mean(1) - math.log(log_proba.shape[1])
