"""The evidence for one class against another in nats, and its exact split over the terms of log p(z1 | y).

f is the same for every class, so log p(x | y = a) - log p(x | y = b) is log p(z1 | a) - log p(z1 | b): a sum over the
flows of h and the prior of z'1, over the positions of the latent grid and over channels. The decision averages it over
the views of a sample (an image and its mirror image), divides it by the temperature and adds the classes' priors.
"""

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flowexpr.inference import Predictor

__all__ = ["Decided", "EvidenceModel", "EvidenceParts", "compared_classes", "refuse_one_class"]


@dataclass(frozen=True, eq=False)  # arrays have no truth value
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

    The gradients of maps, which need no more digits, are taken in the precision of the model that decides.

    Parameters
    ----------
    predictor : Predictor
        The model that decides, with its views, temperature and priors.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.model = copy.deepcopy(predictor.model).requires_grad_(False)
        self.model.set_mixed_precision(False)
        self.model.set_reversible(False)  # which asks for gradients of the weights

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the latents z1, z2, ... of x (n, ...), without a gradient."""
        with torch.inference_mode():
            return list(self.model.encode(x))

    def decode(self, z1: Tensor, normal: list[Tensor]) -> Tensor:
        """Return the flow's variable (n, ...) of z1 and of z2 ... in units of their priors, without a gradient.

        Images are clipped to black and white: far from all faces the inverse takes single pixels far beyond.
        """
        with torch.inference_mode():
            return self.predictor.signal.limit(self.model.backbone.inverse_of_normal(z1, normal))

    def logits(self, x: Tensor) -> Tensor:
        """Return the decision logits of x (n, ...): (n, n_classes), nats, up to a constant a row."""
        with torch.inference_mode():
            return torch.from_numpy(self.predictor.logits(x)).to(x.device)

    def probabilities_and_log_prob(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the model says of x (n, ...), (n, n_classes), and log p(x) of it, (n,), nats; both float64."""
        logits, log_prob = map(torch.from_numpy, self.predictor.logits_and_log_prob(x))
        return torch.softmax(logits, 1).to(x.device), log_prob.to(x.device)

    def evidence(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Return the evidence for class a against class b (n,), nats, without their priors; x gets a gradient."""
        z1 = self.model.encode(self.predictor.with_mirror(x))[0]
        n_views = len(z1) // len(x)
        difference = self.model.head.density_terms(z1, a.repeat(n_views)) - self.model.head.density_terms(
            z1, b.repeat(n_views)
        )
        return difference.flatten(1).sum(1).view(n_views, -1).mean(0) / self.predictor.temperature

    def gradient(self, x: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Return the gradient of the evidence of x (n, ...) by x, in bfloat16 where that is the model's precision."""
        self.model.set_mixed_precision(self.predictor.model.mixed_precision)  # half of the time
        try:
            with torch.inference_mode(False), torch.enable_grad():
                x = x.clone().requires_grad_()
                (gradient,) = torch.autograd.grad(self.evidence(x, a, b).sum(), x)
        finally:
            self.model.set_mixed_precision(False)
        return gradient

    def decide(
        self, rows: NDArray[Any], label: NDArray[np.int64] | None, against: NDArray[np.int64] | None
    ) -> "Decided":
        """Decide as `predict` does, in the same batches, and split the evidence that its decision rests on.

        Parameters
        ----------
        rows : ndarray of shape (n, n_features)
            Samples.
        label : ndarray of shape (n,) or None
            Class indices explained; None is the predicted class.
        against : ndarray of shape (n,) or None
            Class indices to compare with; see `compared_classes`.

        Returns
        -------
        decided : Decided
            Of all samples.
        """
        parts, start = [], 0
        for x in self.predictor.batches(rows):
            part = slice(start, start + len(x))
            parts.append(self._decide(x, *(None if given is None else given[part] for given in (label, against))))
            start += len(x)
        return Decided.concatenate(parts)

    @torch.inference_mode()
    def _decide(self, x: Tensor, label: NDArray[np.int64] | None, against: NDArray[np.int64] | None) -> "Decided":
        predictor, n = self.predictor, len(x)
        latents = predictor.model.backbone(predictor.with_mirror(x))
        terms = self._terms(latents.z[0], n)
        by_class = (terms.flatten(3).sum(3) + predictor.model.head.shared_log_det()).cpu().numpy()
        logits, own = predictor.mean_over_views(by_class, n), latents
        if predictor.model.mixed_precision:
            settled = predictor.settle(x, logits.copy())
            again = torch.from_numpy(np.flatnonzero((settled != logits).any(1))).to(x.device)
            if len(again):
                terms[:, again] = self._terms(self.encode(predictor.with_mirror(x[again]))[0], len(again))
            logits, own = settled, self.model.backbone(x)
        a, b = compared_classes(logits, label, against)
        shared = latents.log_prob[:n].double().cpu().numpy()
        return Decided(
            x=x,
            z1=own.z[0][:n],
            normal=[level[:n] for level in own.normal],
            log_likelihoods=shared[:, None] + by_class[0] + predictor.signal.log_volume,
            logits=logits,
            a=torch.from_numpy(a).to(x.device),
            b=torch.from_numpy(b).to(x.device),
            parts=self._split(terms, a, b),
        )

    def _terms(self, z1: Tensor, n: int) -> Tensor:
        """Return the terms of log p(z1 | y), (n_views, n, n_classes, n_flows + 1, c, ...), float64."""
        return self.predictor.model.head.terms_of_all_classes(z1).double().unflatten(0, (-1, n))

    def _split(self, terms: Tensor, a: NDArray[np.int64], b: NDArray[np.int64]) -> list[EvidenceParts]:
        """Split the evidence for class a against class b, given the terms (n_views, n, n_classes, n_flows + 1, ...)."""
        everyone = np.arange(len(a))
        views = list(terms[:, everyone, a] - terms[:, everyone, b])
        if len(views) > 1:
            views[1] = self.predictor.signal.mirror(views[1])  # cells where they are on the image as given
        of_pair = torch.stack(views).mean(0) / self.predictor.temperature  # (n, n_flows + 1, c, ...)
        by_term = of_pair.flatten(2).sum(2).cpu().numpy()
        by_cell = of_pair.sum((1, 2)).cpu().numpy()
        by_channel = of_pair.sum(1).view(len(a), of_pair.shape[2], -1).sum(2).cpu().numpy()
        prior = (self.predictor.log_prior[a] - self.predictor.log_prior[b]).tolist()
        return [
            EvidenceParts(by_term[i, :-1], float(by_term[i, -1]), np.asarray(by_cell[i]), by_channel[i], prior[i])
            for i in range(len(a))
        ]


@dataclass(frozen=True)
class Decided:
    """What the model decides of n samples, the two classes compared, and what their difference is made of.

    Attributes
    ----------
    x : Tensor of shape (n, ...)
        The flow's variable.
    z1 : Tensor of shape (n, ...)
        Its deepest latent, in full precision.
    normal : list of Tensor
        z2 ... in units of their priors given the deeper ones, likewise.
    log_likelihoods : ndarray of shape (n, n_classes)
        log p(x | y = i), nats.
    logits : ndarray of shape (n, n_classes)
        Decision logits, nats.
    a, b : Tensor of shape (n,)
        Indices of the class explained, and of the one that it is compared with.
    parts : list of EvidenceParts
        Of the difference of their logits.
    """

    x: Tensor
    z1: Tensor
    normal: list[Tensor]
    log_likelihoods: NDArray[np.float64]
    logits: NDArray[np.float64]
    a: Tensor
    b: Tensor
    parts: list[EvidenceParts]

    def __len__(self) -> int:
        return len(self.a)

    def __getitem__(self, rows: slice | Tensor) -> "Decided":
        places = np.arange(len(self))[rows if isinstance(rows, slice) else rows.cpu().numpy()]
        return Decided(
            self.x[rows],
            self.z1[rows],
            [level[rows] for level in self.normal],
            self.log_likelihoods[places],
            self.logits[places],
            self.a[rows],
            self.b[rows],
            [self.parts[place] for place in places],
        )

    @classmethod
    def concatenate(cls, batches: "list[Decided]") -> "Decided":
        """Put batches one after another."""
        return cls(
            torch.cat([one.x for one in batches]),
            torch.cat([one.z1 for one in batches]),
            [torch.cat(level) for level in zip(*(one.normal for one in batches), strict=True)],
            np.concatenate([one.log_likelihoods for one in batches]),
            np.concatenate([one.logits for one in batches]),
            torch.cat([one.a for one in batches]),
            torch.cat([one.b for one in batches]),
            [parts for one in batches for parts in one.parts],
        )


def refuse_one_class(label: Any, against: Any) -> None:
    """Raise a ValueError where one label is asked to be explained against itself."""
    if label is not None and np.ndim(label) == np.ndim(against) == 0 and label == against:
        named = np.asarray(label).item()
        raise ValueError(f"label and against are both {named!r}. Pass two classes, or against=None for the runner-up.")


def compared_classes(
    scores: NDArray[np.float64], label: NDArray[np.int64] | None, against: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of the classes explained and of those that they are compared with.

    Parameters
    ----------
    scores : ndarray of shape (n, n_classes)
        Larger is more probable.
    label : ndarray of shape (n,) or None
        Class indices explained; None is the most probable class.
    against : ndarray of shape (n,) or None
        Class indices to compare with. Where there are none, or one is the explained class itself, it is the most
        probable other class.

    Returns
    -------
    a, b : ndarray of shape (n,)
        Class indices; they differ in every row.
    """
    a = scores.argmax(1) if label is None else label
    others = scores.copy()
    others[np.arange(len(a)), a] = -np.inf
    b = others.argmax(1)
    return a, b if against is None else np.where(against == a, b, against)
