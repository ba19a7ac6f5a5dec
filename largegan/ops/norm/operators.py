"""`largegan::norm_act` and its backward pass.

The usual chain reads and writes the image for each of its four steps. Here one pass sums, another
does the rest, and the backward pass is as many; it makes the activation's slope anew from its
input. A kernel does first derivatives; higher ones are made of PyTorch's operations.
"""

import torch
from torch import Tensor

from largegan.ops.norm import plan, reference
from largegan.ops.norm.reference import normalized, scaled, statistics_shape, wide
from largegan.ops.runtime import backend
from largegan.ops.runtime.layout import layout
from largegan.ops.runtime.registering import needed, operator


@operator("norm_act")
def norm_act(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, per_image: bool, eps: float, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The result, and mean and biased variance: `[N, C]` if `per_image`, else `[C]`."""
    if backend.usable(x):
        tensors = plan.forward(x, gamma, beta, per_image)
        if _launched(plan.FORWARD, tensors, eps, alpha):
            return tensors.y, tensors.mean, tensors.variance
    y, mean, variance = reference.norm_act(x, gamma, beta, per_image, eps, alpha)
    return y.contiguous(memory_format=layout(x)), mean.contiguous(), variance.contiguous()


@norm_act.register_fake
def _(x, gamma, beta, per_image, eps, alpha):
    shape = statistics_shape(x, per_image)
    statistics = [x.new_empty(shape, dtype=wide(x)) for _ in range(2)]
    return torch.empty_like(x, memory_format=layout(x)), *statistics


@operator("norm_act_backward")
def norm_act_backward(
    dy: Tensor,
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    eps: float,
    alpha: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, gamma and beta. Has none itself: see `_gradients` for higher orders."""
    if backend.usable(x):
        tensors = plan.backward(dy, x, gamma, beta, mean, variance)
        if _launched(plan.BACKWARD, tensors, eps, alpha):
            return tensors.y, tensors.dgamma, tensors.dbeta
    dx, dgamma, dbeta = _composite(dy, x, gamma, beta, mean.ndim == 2, eps, alpha)
    return dx.contiguous(memory_format=layout(x)), dgamma.contiguous(), dbeta.contiguous()


@norm_act_backward.register_fake
def _(dy, x, gamma, beta, mean, variance, eps, alpha):
    shape = plan.affine_shape(x, gamma, beta)
    affine = [x.new_empty(shape, dtype=wide(x)) for _ in range(2)]
    return torch.empty_like(x, memory_format=layout(x)), *affine


def _launched(stages: tuple[int, ...], tensors: plan.Tensors, eps: float, alpha: float) -> bool:
    """Whether the kernel has run, stage by stage; False as soon as one cannot be had."""
    device = tensors.x.device
    return all(backend.launch(plan.plan(s, tensors, eps, alpha), device) for s in stages)


def _keep(ctx, inputs, output) -> None:
    x, gamma, beta, ctx.per_image, ctx.eps, ctx.alpha = inputs
    _, mean, variance = output
    ctx.mark_non_differentiable(mean, variance)
    ctx.save_for_backward(x, gamma, beta, mean, variance)


def _gradients(ctx, dy: Tensor, *_):
    x, gamma, beta, mean, variance = ctx.saved_tensors
    constants = ctx.eps, ctx.alpha
    if torch.is_grad_enabled():  # the gradient is to be differentiated: in ops that can be
        found = _composite(dy, x, gamma, beta, ctx.per_image, *constants)
    else:
        found = norm_act_backward(dy, x, gamma, beta, mean, variance, *constants)
    dx, dgamma, dbeta = found
    dgamma = dgamma if gamma is not None and needed(ctx, 1) else None
    dbeta = dbeta if beta is not None and needed(ctx, 2) else None
    return dx, dgamma, dbeta, None, None, None


norm_act.register_autograd(_gradients, setup_context=_keep)


def _composite(dy, x, gamma, beta, per_image: bool, eps: float, alpha: float):
    """The gradients in operations that have gradients; the slope counts as constant."""
    _, variance, normal = normalized(x, per_image, eps)
    over = (2, 3) if per_image else (0, 2, 3)
    h = scaled(normal, gamma, beta).detach()
    one = h.new_ones(())  # of two Python numbers the slopes would be float32
    g = dy.to(h.dtype) * torch.where(h > 0, one, alpha)
    part = g if gamma is None else g * gamma[..., None, None]
    spread = part.mean(over, keepdim=True) + normal * (part * normal).mean(over, keepdim=True)
    dx = ((variance + eps).rsqrt() * (part - spread)).to(x.dtype)
    over = (2, 3) if len(plan.affine_shape(x, gamma, beta)) == 2 else (0, 2, 3)
    return dx, (g * normal).sum(over), g.sum(over)
