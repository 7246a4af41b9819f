"""The model's own most neutral version of a face: where a map of the evidence starts from.

The nearest face that the model takes for one at rest; where it knows no such class, or says it already, the nearest one
that it takes for any class as much as for any other. It is found as counterfactuals are, by descent in the latent space
(`flowexpr.explain.descent`), and pixels are dear: what has no need to move stays, and gets no evidence on the way back.
"""

import math

import torch
from torch import Tensor

from flowexpr.explain.descent import START, Aim, least_log_prob
from flowexpr.explain.evidence import Decided, EvidenceModel

__all__ = ["aim_at_rest", "neutral_versions"]

PRICE_OF_PIXELS = 5.0
"""Nats for a change of all values by the whole range from black to white."""

CONFIDENCE = 0.94
"""Probability of the class at rest that the descent aims at."""

TIE = 0.01
"""Mean nats that the classes of a tie may lie below a tie of all."""

STRENGTHS = (1.0, 0.5, 0.25)
"""Of the step found, tried one after another until one leads to an image; else the face is its own version."""


def aim_at_rest(decided: Decided, normal: list[Tensor], n_classes: int, at_rest: Tensor, is_tie: Tensor) -> Aim:
    """Return what the descent to a neutral version looks for.

    Parameters
    ----------
    decided : Decided
        The n samples, `decided.a` being what the model says of them.
    normal : list of Tensor
        Their other latents in units of their priors.
    n_classes : int
        Number of classes.
    at_rest : Tensor of shape (n,)
        Index of the class at rest.
    is_tie : Tensor of shape (n,), bool
        Which are to be moved to a tie of all classes instead.
    """
    everyone = torch.arange(len(decided), device=at_rest.device)
    weights = decided.z[0].new_zeros(len(decided), n_classes)
    weights[everyone, at_rest] = torch.where(is_tie, 0.0, START).to(weights)
    weights[everyone, decided.a] = -START

    def doubt(log_proba: Tensor) -> Tensor:
        uneven = -log_proba.mean(1) - math.log(n_classes) - TIE
        unsure = math.log(CONFIDENCE) - log_proba[everyone, at_rest]
        return torch.where(is_tie, uneven, unsure).relu()

    return Aim(decided, normal, weights, doubt, PRICE_OF_PIXELS)


def neutral_versions(model: EvidenceModel, aim: Aim, step: Tensor) -> Tensor:
    """Return a neutral version of each sample, (n, ...), as the flow's variable, not quantised.

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
    found, allowed = decided.x.clone(), least_log_prob(model, decided)
    left = torch.arange(len(decided), device=step.device)
    for strength in STRENGTHS:
        z1, normal = decided.z[0][left] + strength * step[left], [level[left] for level in aim.normal]
        x = model.decode(z1, normal)
        is_image = model.probabilities_and_log_prob(x)[1] >= allowed[left]  # not a number is none
        found[left[is_image]], left = x[is_image], left[~is_image]
        if not len(left):
            break
    return found
