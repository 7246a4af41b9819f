"""The losses of the paper, equations 3 to 6, from one table of class log-likelihoods.

    L_cond  = -log p(x|y)                                     in bits per dimension
    L_class = cross-entropy of log p(x|y=i) + log p(y=i)      in nats
    L_total = L_cond + lambda * L_class

A row without a label contributes -log sum_y p(x|y) p(y) to L_cond and nothing to L_class (Atanov et al. 2019). With
mixup, L_class of a training batch is taken between the deepest latents of its samples, where the target is between
their labels; L_cond stays that of the samples themselves.

References
----------
.. [1] Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018, https://arxiv.org/abs/1710.09412
.. [2] Verma et al., "Manifold Mixup: Better Representations by Interpolating Hidden States", 2019,
   https://arxiv.org/abs/1806.05236
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from flowexpr.flows.model import ClassLogProb

UNLABELLED = -1
"""Class index of a row without a label."""


class Losses(NamedTuple):
    """The losses of one batch.

    Attributes
    ----------
    total : Tensor of shape ()
        L_cond + lambda * L_class, what is minimised.
    bits_per_dim : Tensor of shape ()
        L_cond, in bits per dimension.
    class_loss : Tensor of shape ()
        L_class, in nats; 0 in a batch without labels.
    n_correct : Tensor of shape ()
        Number of labelled rows whose most probable class is the true one; with mixup, that of the larger share.
    """

    total: Tensor
    bits_per_dim: Tensor
    class_loss: Tensor
    n_correct: Tensor


class ClassLosses(NamedTuple):
    """The loss of one batch of a classifier without a density.

    Attributes
    ----------
    total, class_loss : Tensor of shape ()
        L_class, in nats.
    n_correct : Tensor of shape ()
        Number of rows whose most probable class is the true one.
    """

    total: Tensor
    class_loss: Tensor
    n_correct: Tensor


class Objective:
    """L_total of equation 6.

    Parameters
    ----------
    log_prior : Tensor of shape (n_classes,)
        Log-probability of every class, nats.
    class_loss_weight : float
        lambda of equation 6.
    label_smoothing : float
        Share of the target that is spread over all classes, 0 in the paper.
    class_weight : Tensor of shape (n_classes,)
        Weight of every class in L_class.
    mixup : float
        alpha of the Beta(alpha, alpha) from which the share of the other sample is drawn; 0 for no mixup.
    n_dims : int
        Number of values of one sample.
    log_volume : float
        Added to the model's log-density to get that of the data, nats.
    """

    terms = ("bits_per_dim", "class_loss")

    def __init__(
        self,
        log_prior: Tensor,
        *,
        class_loss_weight: float,
        label_smoothing: float,
        class_weight: Tensor,
        mixup: float,
        n_dims: int,
        log_volume: float,
    ) -> None:
        self.log_prior = log_prior
        self.class_loss_weight = class_loss_weight
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.mixup = mixup
        self.n_dims = n_dims
        self.log_volume = log_volume

    def __call__(self, log_prob: ClassLogProb, y: Tensor) -> Losses:
        """Return the losses of a batch with class indices y (n,), `UNLABELLED` where there is none."""
        joint = log_prob.by_class + self.log_prior
        labelled = y != UNLABELLED
        of_label = log_prob.by_class.gather(1, y.clamp_min(0)[:, None]).squeeze(1)
        if not bool(labelled.all()):
            of_label = torch.where(labelled, of_label, joint.logsumexp(1))
            joint, y = joint[labelled], y[labelled]
        return self._losses(log_prob.shared + of_label, joint, one_hot(y, self.log_prior))

    def of_batch(self, model: Any, x: Tensor, y: Tensor, seed: tuple[int, ...]) -> Losses:
        """Return the losses of a `FlowModel` on a training batch x (n, ...) with class indices y (n,).

        What is mixed is drawn from `seed`.
        """
        if not self.mixup:
            return self(model(x), y)
        latents, labelled = model.backbone(x), y != UNLABELLED
        z1, known, y = latents.z[0], latents.z[0][labelled], y[labelled]
        of_label = model.head.log_prob(known, y)
        if len(known) < len(z1):
            unknown = (model.head.log_prob_of_all_classes(z1[~labelled]) + self.log_prior).logsumexp(1)
            of_label = z1.new_empty(len(z1)).index_put((labelled,), of_label).index_put((~labelled,), unknown)
        known, targets = mix(known, one_hot(y, self.log_prior), self.mixup, seed)
        joint = model.head.log_prob_of_all_classes(known) + self.log_prior
        return self._losses(latents.log_prob + of_label, joint, targets)

    def _losses(self, log_prob: Tensor, joint: Tensor, targets: Tensor) -> Losses:
        bits_per_dim = -(log_prob + self.log_volume).mean() / (self.n_dims * math.log(2))
        class_loss = cross_entropy(joint, targets, self.class_weight, self.label_smoothing)
        n_correct = (joint.argmax(1) == targets.argmax(1)).sum()
        return Losses(self.total(bits_per_dim, class_loss), bits_per_dim, class_loss, n_correct)

    def total(self, bits_per_dim: Any, class_loss: Any) -> Any:
        """Return L_total of its two terms."""
        return bits_per_dim + self.class_loss_weight * class_loss


class ClassObjective:
    """L_class alone, of logits (n, n_classes).

    Parameters
    ----------
    label_smoothing, class_weight
        As in `Objective`.
    mixup : float
        As in `Objective`, of deep features.
    """

    terms = ("class_loss",)

    def __init__(self, *, label_smoothing: float, class_weight: Tensor, mixup: float) -> None:
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.mixup = mixup

    def __call__(self, logits: Tensor, y: Tensor) -> ClassLosses:
        """Return the loss of a batch with class indices y (n,)."""
        return self._losses(logits, one_hot(y, self.class_weight))

    def of_batch(self, model: Any, x: Tensor, y: Tensor, seed: tuple[int, ...]) -> ClassLosses:
        """Return the loss of a network on a training batch x (n, ...) with class indices y (n,).

        What is mixed is drawn from `seed`; the network has `deep_features`, and `logits` of them.
        """
        if not self.mixup:
            return self(model(x), y)
        features, targets = mix(model.deep_features(x), one_hot(y, self.class_weight), self.mixup, seed)
        return self._losses(model.logits(features), targets)

    def total(self, class_loss: Any) -> Any:
        """Return the loss itself."""
        return class_loss

    def _losses(self, logits: Tensor, targets: Tensor) -> ClassLosses:
        loss = cross_entropy(logits, targets, self.class_weight, self.label_smoothing)
        return ClassLosses(loss, loss, (logits.argmax(1) == targets.argmax(1)).sum())


def one_hot(y: Tensor, like: Tensor) -> Tensor:
    """Return class indices y (n,) as targets (n, n_classes), of the length and type of a vector over classes."""
    return F.one_hot(y, len(like)).to(like.dtype)


def cross_entropy(logits: Tensor, targets: Tensor, class_weight: Tensor, label_smoothing: float) -> Tensor:
    """Return the mean over samples, weighed by their classes, of the cross-entropy, nats; 0 of no sample.

    Parameters
    ----------
    logits, targets : Tensor of shape (n, n_classes)
        Unnormalised log-probabilities, and probabilities.
    class_weight, label_smoothing
        As in `Objective`.
    """
    if not len(logits):
        return logits.new_zeros(())
    total = F.cross_entropy(logits, targets, class_weight, reduction="sum", label_smoothing=label_smoothing)
    return total / (targets @ class_weight).sum()


def mix(hidden: Tensor, targets: Tensor, alpha: float, seed: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Move samples towards others of the batch, at most to half-way (mixup [1]_ of hidden states [2]_).

    Parameters
    ----------
    hidden : Tensor of shape (n, ...)
        Deepest latents or deep features.
    targets : Tensor of shape (n, n_classes)
        One-hot labels.
    alpha : float
        Of Beta(alpha, alpha); the smaller, the fewer are moved far.
    seed : tuple of int
        Everything drawn is a function of it.

    Returns
    -------
    hidden, targets : Tensor of the given shapes
        Both moved by the same share of the way.
    """
    random = np.random.default_rng(seed)
    other = torch.from_numpy(random.permutation(len(hidden))).to(hidden.device)
    drawn = random.beta(alpha, alpha, (len(hidden), 1))
    share = torch.from_numpy(np.minimum(drawn, 1 - drawn)).to(hidden)
    moved = hidden.lerp(hidden[other], share.view(-1, *[1] * (hidden.ndim - 1)))
    return moved, targets.lerp(targets[other], share)
