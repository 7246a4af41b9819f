"""An exponential moving average of the weights: the average predicts, and is less noisy than the last step's weights.

Torch's ``AveragedModel`` walks the modules at every update; for small flows that walk is a sixth of a training step.
"""

import copy

import torch
from torch import nn


class WeightAverage:
    """The moving average of a model's parameters.

    Parameters
    ----------
    model : nn.Module
        Whose parameters are followed; of its buffers, those of batch normalisation.
    decay : float
        Weight of the average against the newest parameters, in [0, 1).

    Attributes
    ----------
    model : nn.Module
        A copy with the averaged parameters.
    followed : list of Tensor
        The parameters that are followed, in their order.
    n_updates : int
        Number of updates.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model)
        self.decay = decay
        self.n_updates = 0
        self._averaged = [parameter.detach() for parameter in self.model.parameters()]
        self._buffers = [
            (own, other)
            for (name, own), other in zip(self.model.named_buffers(), model.buffers(), strict=True)
            if name.rpartition(".")[2].startswith("running_")  # of batch normalisation; others never change
        ]
        self.followed = [parameter.detach() for parameter in model.parameters()]

    def update(self) -> None:
        """Move towards the parameters as they are now; the first update copies them."""
        n = self.n_updates
        # A short memory at first, so that the start is forgotten (the bias correction of an average).
        step = 1 - min(self.decay, (1 + n) / (10 + n)) if n else 1.0
        torch._foreach_lerp_(self._averaged, self.followed, step)
        self.n_updates = n + 1
        for averaged, followed in self._buffers:
            averaged.copy_(followed)
