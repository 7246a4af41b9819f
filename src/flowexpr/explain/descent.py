"""A face like another one of which the model says something else: gradient descent in the deepest latent.

z1 moves by a combination of the differences of its class averages and freely beside it; every other latent keeps its
place in its prior given the deeper ones, so that hair, light and noise stay as they are. The gradient goes through the
exact inverse, so that what is asked for is had for as few grey levels as may be.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from scipy.special import logsumexp
from torch import Tensor

from flowexpr.explain.evidence import Decided, EvidenceModel

__all__ = ["START", "Aim", "descend", "least_log_prob"]

N_STEPS = 12
"""Steps of gradient descent."""

N_MIRRORED = 6
"""The last so many of them ask about the mirror image too, as decisions do, which takes twice the time. Their learning
rates fall to a sixth, so that the descent settles: what is found depends little on how the arithmetic rounds, and so on
what else is explained in the same call."""

AVERAGES_RATE, FREE_RATE = 0.1, 0.01
"""Learning rates of the weights of the class averages, and of the free part."""

START = 0.5
"""Where a descent starts, as a share of the difference of two class averages: all of it leads many samples of a model
that was trained for long out of the faces, from where the descent does not come back."""

PRICE_OF_AVERAGES, PRICE_OF_FREE = 0.01, 1e-3
"""Nats for the squares of the weights, and of the values of the free part."""

GREY_LEVEL = 1 / 256
"""As a share of the signal's whole range. Smaller changes are cheap, so that rounding does not decide the direction."""

MOST_LOST_PER_VALUE, ALWAYS_ALLOWED = 0.7, 10.0
"""Nats of log p(x) that a sample may lose on the way: so many per value, and never fewer than these in all. Faces of
one set differ by a few tenths per value; noise loses tens."""


@dataclass(frozen=True)
class Aim:
    """What a descent looks for near each of n samples.

    Parameters
    ----------
    decided : Decided
        The samples.
    normal : list of Tensor
        What their other latents shall be, in units of their priors.
    weights : Tensor of shape (n, n_classes)
        Of the class averages, less the average of all classes: where the descent starts.
    doubt : callable
        Of log-probabilities of the classes (n, n_classes), the nats (n,) that are missing; 0 where it is enough.
    price_of_pixels : float
        Nats for a change of all values by the whole range, from black to white; of features five standard deviations.
    """

    decided: Decided
    normal: list[Tensor]
    weights: Tensor
    doubt: Callable[[Tensor], Tensor]
    price_of_pixels: float


def descend(model: EvidenceModel, means: Tensor, aims: Sequence[Aim], free_rate: float = FREE_RATE) -> list[Tensor]:
    """Return for every aim the steps of z1 (n, ...) after which there is no doubt, as far as `N_STEPS` steps lead.

    All aims in one batch, which takes less time than one after another.

    Parameters
    ----------
    model : EvidenceModel
        The trained model.
    means : Tensor of shape (n_classes, ...)
        Averages of z1.
    aims : sequence of Aim
        At least one.
    free_rate : float
        Learning rate of the free part.
    """
    network, predictor, sizes = model.model, model.predictor, [len(aim.decided) for aim in aims]
    n, log_prior = sum(sizes), torch.from_numpy(predictor.log_prior)
    whole_range = predictor.signal.whole_range
    with torch.inference_mode(False), torch.enable_grad():
        # Clones, since no gradient goes through tensors that inference mode made.
        x = torch.cat([aim.decided.x for aim in aims]).clone()
        z1 = torch.cat([aim.decided.z1 for aim in aims]).clone()
        normal = [torch.cat(levels).clone() for levels in zip(*(aim.normal for aim in aims), strict=True)]
        directions = (means - means.mean(0)).clone().flatten(1)
        weights = torch.cat([aim.weights for aim in aims]).clone().requires_grad_()
        free = torch.zeros_like(z1, requires_grad=True)
        rates = [{"params": [weights], "lr": AVERAGES_RATE}, {"params": [free], "lr": free_rate}]
        optimiser = torch.optim.Adam(rates, betas=(0.6, 0.9))
        falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda done: min(1, (N_STEPS - done) / N_MIRRORED))
        for left in range(N_STEPS, 0, -1):
            moved = z1 + (weights @ directions).view_as(z1) + free
            decoded = network.backbone.inverse_of_normal(moved, normal)
            views = [moved]
            if predictor.mirror and left <= N_MIRRORED:
                views.append(network.encode(predictor.signal.mirror(decoded))[0])
            by_class = network.head.log_prob_of_all_classes(torch.cat(views)).view(len(views), n, -1).mean(0)
            log_proba = torch.log_softmax(by_class / predictor.temperature + log_prior.to(by_class), 1)
            change = ((decoded - x) / whole_range).square().add(GREY_LEVEL**2).sqrt().flatten(1).mean(1)
            loss = PRICE_OF_AVERAGES * weights.square().sum() + PRICE_OF_FREE * free.square().sum()
            for aim, of_aim, moves in zip(aims, log_proba.split(sizes), change.split(sizes), strict=True):
                loss = loss + aim.doubt(of_aim).sum() + aim.price_of_pixels * moves.sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            falling.step()
        return list(((weights @ directions).view_as(z1) + free).detach().split(sizes))


def least_log_prob(model: EvidenceModel, decided: Decided) -> Tensor:
    """Return log p(x) that an image made of each sample has to have (n,), nats, as the flow's variable has it."""
    predictor = model.predictor
    own = logsumexp(decided.log_likelihoods + predictor.log_prior, axis=1) - predictor.signal.log_volume
    lost = max(ALWAYS_ALLOWED, MOST_LOST_PER_VALUE * decided.x[0].numel())
    return torch.from_numpy(own - lost).to(decided.x.device)
