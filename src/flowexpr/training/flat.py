"""All trained parameters of a model as one vector: clipping, the optimiser and averaging then cost one operation each.

A small flow has a hundred small tensors, and a step that touches each of them a few times spends longer on calling
than on computing. The parameters become views of one vector, and their gradients views of another.
"""

import torch
from torch import Tensor, nn


class FlatParameters:
    """The trained parameters of a model as one vector, until `release`.

    Parameters
    ----------
    model : nn.Module
        Its parameters move into the vector; where they lie in memory is all that changes.

    Attributes
    ----------
    parameters : list of nn.Parameter
        The trained parameters, in the model's order.
    vector : nn.Parameter of shape (n,)
        Every trained number.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # Each in the order of its own memory, so that convolutions keep their channels last.
        self.vector = nn.Parameter(torch.cat([p.detach().as_strided((p.numel(),), (1,)) for p in self.parameters]))
        for parameter, view in zip(self.parameters, self._views(self.vector.detach()), strict=True):
            parameter.data = view

    def zero_gradient(self) -> None:
        """Set the gradient to zero; backward passes through the model add to it."""
        if self.vector.grad is not None:
            self.vector.grad.zero_()
            return
        self.vector.grad = torch.zeros_like(self.vector)
        for parameter, view in zip(self.parameters, self._views(self.vector.grad), strict=True):
            parameter.grad = view

    def clip_gradient(self, largest: float) -> float:
        """Scale the gradient down to a norm of at most `largest`; return the norm that it had."""
        assert self.vector.grad is not None
        norm = float(torch.linalg.vector_norm(self.vector.grad))
        if norm > largest:
            self.vector.grad.mul_(largest / norm)
        return norm

    def release(self) -> None:
        """Give every parameter memory of its own again, and no gradient."""
        for parameter in self.parameters:
            parameter.data, parameter.grad = parameter.detach().clone(), None

    def _views(self, vector: Tensor) -> list[Tensor]:
        parts = vector.split([parameter.numel() for parameter in self.parameters])
        return [part.as_strided(p.shape, p.stride()) for part, p in zip(parts, self.parameters, strict=True)]
