"""An exponential moving average of the weights: the average predicts, less noisy than the weights of the last step."""

import copy

from torch import Tensor, nn

from flowexpr.training.flat import FlatParameters


def running_statistics(model: nn.Module) -> list[Tensor]:
    """Return the buffers of batch normalisation, the only ones that every training step changes."""
    return [buffer for name, buffer in model.named_buffers() if name.rpartition(".")[2].startswith("running_")]


class WeightAverage:
    """The moving average of a model's parameters.

    Parameters
    ----------
    model : nn.Module
        Whose parameters are followed; of its buffers, those of batch normalisation.
    followed : FlatParameters
        The parameters of that model.
    decay : float
        Weight of the average against the newest parameters, in [0, 1).

    Attributes
    ----------
    model : nn.Module
        A copy with the averaged parameters.
    n_updates : int
        Number of updates.
    """

    def __init__(self, model: nn.Module, followed: FlatParameters, decay: float) -> None:
        self.model = copy.deepcopy(model)
        self.followed = followed
        self.decay = decay
        self.n_updates = 0
        self._averaged = FlatParameters(self.model).vector.detach()
        self._statistics = list(zip(*map(running_statistics, (self.model, model)), strict=True))

    def update(self) -> None:
        """Move towards the parameters as they are now; the first update copies them."""
        n = self.n_updates
        # A short memory at first, so that the start is forgotten (the bias correction of an average).
        step = 1 - min(self.decay, (1 + n) / (10 + n)) if n else 1.0
        self._averaged.lerp_(self.followed.vector.detach(), step)
        self.n_updates = n + 1
        for averaged, followed in self._statistics:
            averaged.copy_(followed)
