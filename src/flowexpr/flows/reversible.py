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

from flowexpr.flows.layers import FlowStep


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
        Sum of the log-determinants, in nats.
    """
    parameters = [parameter for step in steps for parameter in step.parameters()]
    return _Reversible.apply(list(steps), x, *parameters)


class _Reversible(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, steps: list[FlowStep], x: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(len(x))
        for step in steps:
            x, step_log_det = step(x)
            log_det = log_det + step_log_det
        ctx.steps = steps
        ctx.save_for_backward(x)
        return x, log_det

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_z, grad_log_det = grads
        (z,) = ctx.saved_tensors
        by_step: list[list[Tensor]] = []
        for step in reversed(ctx.steps):
            z, grad_z, parameter_grads = _step_backward(step, z, grad_z, grad_log_det)
            by_step.append(parameter_grads)
        return None, grad_z, *[grad for step_grads in reversed(by_step) for grad in step_grads]


def _step_backward(
    step: FlowStep, z: Tensor, grad_z: Tensor, grad_log_det: Tensor
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Return the input of a step, the gradient there, and those of the parameters in their order."""
    coupling = step.coupling
    n_read = coupling.n_read
    with torch.enable_grad():
        read = z[:, :n_read].detach().requires_grad_()
        shift, log_scale = coupling.shift_and_log_scale(read)
        changed = ((z[:, n_read:] - shift) * (-log_scale).exp()).detach().requires_grad_()
        out = changed * log_scale.exp() + shift
        log_det = log_scale.flatten(1).sum(1)
    grad_read, grad_changed, *network_grads = torch.autograd.grad(
        (out, log_det),
        (read, changed, *coupling.parameters()),
        (grad_z[:, n_read:], grad_log_det),
        materialize_grads=True,
    )
    grad_middle = torch.cat([grad_read + grad_z[:, :n_read], grad_changed], 1)
    middle = torch.cat([read, changed], 1).detach()
    with torch.no_grad():
        x = step.linear_part_inverse(middle)
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        linear_parameters = [*step.actnorm.parameters(), *step.conv1x1.parameters()]
        recomputed, linear_log_det = step.linear_part(leaf)
    grad_x, *linear_grads = torch.autograd.grad(
        (recomputed, linear_log_det), (leaf, *linear_parameters), (grad_middle, grad_log_det)
    )
    return x, grad_x, [*linear_grads, *network_grads]
