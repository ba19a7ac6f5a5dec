"""`largegan::modulate` and its gradients in one pass."""

import torch
from torch import Tensor

from largegan.ops.modulate import plan, reference
from largegan.ops.runtime import backend
from largegan.ops.runtime.layout import layout
from largegan.ops.runtime.registering import needed, operator


@operator("modulate")
def modulated(x: Tensor, s: Tensor) -> Tensor:
    """x `[N, C, H, W]` times s `[N, C]`."""
    x = x.contiguous(memory_format=layout(x))
    launch = plan.forward(x, s) if backend.usable(x) else None
    if launch is not None and backend.launch(launch.plan, x.device):
        return launch.result
    return reference.modulate(x, s)


@modulated.register_fake
def _(x, s):
    return torch.empty_like(x, memory_format=layout(x))


@operator("modulate_grad")
def modulated_grad(dy: Tensor, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """(dx, ds) in one pass, for backward passes of which no derivative is wanted."""
    x = x.contiguous(memory_format=layout(x))
    launch = plan.backward(dy, x, s) if backend.usable(x) else None
    if launch is not None and backend.launch(launch.plan, x.device):
        return launch.result, plan.total(launch.sums, x).to(s.dtype)
    dy = dy.contiguous(memory_format=layout(x))
    return reference.modulate(dy, s), _style_gradient(dy, x, s)


@modulated_grad.register_fake
def _(dy, x, s):
    return torch.empty_like(x, memory_format=layout(x)), s.new_empty(s.shape)


def _style_gradient(dy: Tensor, x: Tensor, s: Tensor) -> Tensor:
    exact = torch.promote_types(x.dtype, torch.float32)
    return (dy.to(exact) * x).sum([2, 3]).to(s.dtype)


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx, dy: Tensor):
    x, s = ctx.saved_tensors
    styled = needed(ctx, 1)
    if styled and not torch.is_grad_enabled():
        return modulated_grad(dy, x, s)
    dx = modulated(dy, s) if needed(ctx, 0) else None
    return dx, _style_gradient(dy, x, s) if styled else None


modulated.register_autograd(_gradients, setup_context=_keep)
