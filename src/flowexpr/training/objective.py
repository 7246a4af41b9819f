"""The losses of the paper, equations 3 to 6, from one table of class log-likelihoods.

    L_cond  = -log p(x|y)                                     in bits per dimension
    L_class = cross-entropy of log p(x|y=i) + log p(y=i)      in nats
    L_total = L_cond + lambda * L_class

A row without a label contributes -log sum_y p(x|y) p(y) to L_cond and nothing to L_class (Atanov et al. 2019).
"""

import math
from typing import Any, NamedTuple

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
        Number of labelled rows whose most probable class is the true one.
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
        n_dims: int,
        log_volume: float,
    ) -> None:
        self.log_prior = log_prior
        self.class_loss_weight = class_loss_weight
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.n_dims = n_dims
        self.log_volume = log_volume

    def __call__(self, log_prob: ClassLogProb, y: Tensor) -> Losses:
        """Return the losses of a batch with class indices y (n,), `UNLABELLED` where there is none."""
        joint = log_prob.by_class + self.log_prior
        labelled = y != UNLABELLED
        if bool(labelled.all()):
            own_class = log_prob.by_class.gather(1, y[:, None]).squeeze(1)
        else:
            of_label = log_prob.by_class.gather(1, y.clamp_min(0)[:, None]).squeeze(1)
            own_class = torch.where(labelled, of_label, joint.logsumexp(1))
            joint, y = joint[labelled], y[labelled]
        log_likelihood = log_prob.shared + own_class + self.log_volume
        bits_per_dim = -log_likelihood.mean() / (self.n_dims * math.log(2))
        class_loss = self._class_loss(joint, y)
        n_correct = (joint.argmax(1) == y).sum()
        total = self.total(bits_per_dim, class_loss)
        return Losses(total, bits_per_dim, class_loss, n_correct)

    def total(self, bits_per_dim: Any, class_loss: Any) -> Any:
        """Return L_total of its two terms."""
        return bits_per_dim + self.class_loss_weight * class_loss

    def _class_loss(self, logits: Tensor, y: Tensor) -> Tensor:
        if not len(y):
            return logits.new_zeros(())
        return F.cross_entropy(logits, y, weight=self.class_weight, label_smoothing=self.label_smoothing)


class ClassObjective:
    """L_class alone, of logits (n, n_classes).

    Parameters
    ----------
    label_smoothing, class_weight
        As in `Objective`.
    """

    terms = ("class_loss",)

    def __init__(self, *, label_smoothing: float, class_weight: Tensor) -> None:
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight

    def __call__(self, logits: Tensor, y: Tensor) -> ClassLosses:
        """Return the loss of a batch with class indices y (n,)."""
        loss = F.cross_entropy(logits, y, weight=self.class_weight, label_smoothing=self.label_smoothing)
        return ClassLosses(loss, loss, (logits.argmax(1) == y).sum())

    def total(self, class_loss: Any) -> Any:
        """Return the loss itself."""
        return class_loss
