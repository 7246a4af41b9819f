"""The evidence for one class against another in nats, and its exact split over the terms of log p(z1 | y).

f is the same for every class, so log p(x | y = a) - log p(x | y = b) is log p(z1 | a) - log p(z1 | b): a sum over the
flows of h and the prior of z'1, over the positions of the latent grid and over channels. The decision averages it over
the views of a sample (an image and its mirror image), divides it by the temperature and adds the classes' priors.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowexpr.inference import Predictor

__all__ = ["EvidenceModel", "EvidenceParts"]


@dataclass(frozen=True)
class EvidenceParts:
    """Three exact splits of the evidence of one sample; each of them plus `class_prior` sums to it.

    Parameters
    ----------
    flows : ndarray of shape (n_flows,)
        What the log-determinant of each flow of h adds, nats; empty for the "gmm" head.
    latent_prior : float
        What log N(z'1; 0, I) adds, nats. Together with `flows`, the first split.
    cells : ndarray of shape (h, w), or () for vectors
        By position of z1, where it is on the image as given, nats: the second split.
    channels : ndarray of shape (c,)
        By channel of z'1 (of what each flow puts out), nats: the third split.
    class_prior : float
        log p(y = a) - log p(y = b), nats.
    """

    flows: NDArray[np.float64]
    latent_prior: float
    cells: NDArray[np.float64]
    channels: NDArray[np.float64]
    class_prior: float

    @property
    def total(self) -> float:
        """The evidence, nats."""
        return float(self.cells.sum()) + self.class_prior


class EvidenceModel:
    """A trained model in full precision, whose evidence can be split and differentiated.

    Parameters
    ----------
    predictor : Predictor
        The model that decides, with its views, temperature and priors.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.model = copy.deepcopy(predictor.model).requires_grad_(False)
        self.model.set_mixed_precision(False)
        self._exact_head = copy.deepcopy(self.model.head).double()

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the latents z1, z2, ... of x (n, ...), without a gradient."""
        with torch.inference_mode():
            return list(self.model.encode(x))

    def decode(self, z: list[Tensor]) -> Tensor:
        """Return the flow's variable (n, ...) of latents z1, z2, ..., without a gradient."""
        with torch.inference_mode():
            return self.model.decode(tuple(z))

    def logits(self, x: Tensor) -> Tensor:
        """Return the decision logits of x (n, ...): (n, n_classes), nats, up to a constant a row."""
        with torch.inference_mode():
            by_class = self.model.head.log_prob_of_all_classes(self.model.encode(self.predictor.with_mirror(x))[0])
            mean = by_class.double().view(-1, len(x), by_class.shape[1]).mean(0)
            return mean / self.predictor.temperature + torch.from_numpy(self.predictor.log_prior).to(mean.device)

    def evidence(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Return the evidence for class a against class b (n,), nats, without their priors; x gets a gradient."""
        z1 = self.model.encode(self.predictor.with_mirror(x))[0]
        n_views = len(z1) // len(x)
        difference = self.model.head.density_terms(z1, a.repeat(n_views)) - self.model.head.density_terms(
            z1, b.repeat(n_views)
        )
        return difference.flatten(1).sum(1).view(n_views, -1).mean(0) / self.predictor.temperature

    def gradient(self, x: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the evidence (n,) of x (n, ...) and its gradient by x."""
        with torch.inference_mode(False), torch.enable_grad():
            x = x.clone().requires_grad_()
            evidence = self.evidence(x, a, b)
            (gradient,) = torch.autograd.grad(evidence.sum(), x)
        return evidence.detach(), gradient

    @torch.inference_mode()
    def split(self, z1: Tensor, a: Tensor, b: Tensor) -> list[EvidenceParts]:
        """Split the evidence for class a against class b; from z1 on it is computed in float64.

        Parameters
        ----------
        z1 : Tensor of shape (n_views, n, ...)
            Deepest latents of the samples, then those of their mirror images where decisions average over both.
        a, b : Tensor of shape (n,)
            Class indices.

        Returns
        -------
        parts : list of EvidenceParts
            One for every sample.
        """
        head = self._exact_head
        views = [head.density_terms(view, a) - head.density_terms(view, b) for view in z1.double()]
        if len(views) > 1:
            views[1] = self.predictor.signal.mirror(views[1])  # cells where they are on the image as given
        terms = torch.stack(views).mean(0) / self.predictor.temperature  # (n, n_flows + 1, c, ...)
        by_term = terms.flatten(2).sum(2).cpu().numpy()
        by_cell = terms.sum((1, 2)).cpu().numpy()
        by_channel = terms.sum(1).view(len(terms), terms.shape[2], -1).sum(2).cpu().numpy()
        log_prior = self.predictor.log_prior
        prior = (log_prior[a.cpu().numpy()] - log_prior[b.cpu().numpy()]).tolist()
        return [
            EvidenceParts(by_term[i, :-1], float(by_term[i, -1]), np.asarray(by_cell[i]), by_channel[i], prior[i])
            for i in range(len(terms))
        ]
