"""Backpropagation in constant memory: activations are recomputed from the output by inverting the flow.

Ordinary backpropagation stores what every layer put out. A flow can recompute its input from its output, so
a run of steps needs to store its last output only. Each network is evaluated once more on the way back, since
what it reads passes through the coupling unchanged: about a third more time, for memory that does not depend
on the number of steps.

References
----------
.. [1] Gomez et al., "The Reversible Residual Network: Backpropagation Without Storing Activations", 2017,
   https://arxiv.org/abs/1707.04585
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from flowexpr.flows.layers import AffineCoupling, FlowStep, mix_channels, sum_over_dims
from flowexpr.flows.linear import invert_maps, linear_maps, linear_parameters


def run_reversibly(steps: Sequence[FlowStep], x: Tensor) -> tuple[Tensor, Tensor]:
    """Apply unconditional flow steps one after another, storing only the last output for the gradient.

    Parameters
    ----------
    steps : sequence of FlowStep
        The steps, first to last.
    x : Tensor of shape (n, C, ...)
        Their input.

    Returns
    -------
    z : Tensor of shape (n, C, ...)
        The output of the last step.
    log_det : Tensor of shape (n,)
        Sum of the couplings' log-determinants, in nats; that of the linear maps is `linear_log_det`.
    """
    of_couplings = [parameter for step in steps for parameter in step.coupling.parameters()]
    return _Reversible.apply(list(steps), x, *linear_parameters(steps), *of_couplings)


class _Reversible(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, steps: list[FlowStep], x: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(len(x))
        for step, weight, bias in zip(steps, *linear_maps(steps), strict=True):
            x, added = step.coupling(mix_channels(x, weight, bias))
            log_det = log_det + added
        ctx.steps = steps
        ctx.save_for_backward(x)
        return x, log_det

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_z, grad_log_det = grads
        (z,) = ctx.saved_tensors
        with torch.enable_grad():
            maps = linear_maps(ctx.steps)
        weight, bias = (tensor.detach() for tensor in maps)
        inverse_weight, inverse_bias = invert_maps(weight, bias)
        grad_weight, grad_bias = torch.empty_like(weight), torch.empty_like(bias)
        by_coupling: list[Sequence[Tensor]] = []
        for i, step in reversed(list(enumerate(ctx.steps))):
            mixed, grad_mixed, coupling_grads = _coupling_backward(step.coupling, z, grad_z, grad_log_det)
            by_coupling.append(coupling_grads)
            z = mix_channels(mixed, inverse_weight[i], inverse_bias[i])
            grad_z, grad_weight[i], grad_bias[i] = _mixing_backward(z, weight[i], bias[i], grad_mixed)
        linear_grads = torch.autograd.grad(maps, linear_parameters(ctx.steps), (grad_weight, grad_bias))
        return None, grad_z, *linear_grads, *[grad for grads in reversed(by_coupling) for grad in grads]


def _coupling_backward(
    coupling: AffineCoupling, z: Tensor, grad_z: Tensor, grad_log_det: Tensor
) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
    """Return the input of a coupling, the gradient there, and those of its parameters in their order."""
    (kept, out_of_it), (grad_kept, grad_out) = coupling.halves(z), coupling.halves(grad_z)
    with torch.enable_grad():
        read = kept.detach().requires_grad_()
        shift, log_scale = coupling.shift_and_log_scale(read)
        changed = ((out_of_it - shift) * (-log_scale).exp()).detach().requires_grad_()
        out = torch.addcmul(shift, changed, log_scale.exp())
        log_det = sum_over_dims(log_scale)
    grad_read, grad_changed, *parameter_grads = torch.autograd.grad(
        (out, log_det),
        (read, changed, *coupling.parameters()),
        (grad_out, grad_log_det),
        materialize_grads=True,
    )
    x = torch.cat([read, changed], 1).detach()
    return x, torch.cat([grad_read + grad_kept, grad_changed], 1), parameter_grads


def _mixing_backward(x: Tensor, weight: Tensor, bias: Tensor, grad: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of `mix_channels` at its input, its matrix and its bias."""
    with torch.enable_grad():
        leaves = tuple(tensor.detach().requires_grad_() for tensor in (x, weight, bias))
        mixed = mix_channels(*leaves)
    return torch.autograd.grad(mixed, leaves, grad)
