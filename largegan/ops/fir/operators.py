"""`largegan::fir`: a filter, linear in the image; its derivative is the adjoint filter."""

import torch
from torch import Tensor

from largegan.ops.fir import eager, plan
from largegan.ops.fir.filter import Filter, as_filter
from largegan.ops.runtime import backend
from largegan.ops.runtime.layout import dense, layout
from largegan.ops.runtime.registering import operator


def filtered(x: Tensor, f: Filter) -> Tensor:
    """`f` of x `[N, C, H, W]`, with gradients of any order."""
    if backend.plain():
        return eager.filtered(x, f)
    return fir(x, *f.arguments())


@operator("fir")
def fir(
    x: Tensor,
    fx: list[float],
    fy: list[float],
    size: list[int],
    factors: list[int],
    pads: list[int],
    flip: bool,
    gain: float,
) -> Tensor:
    """The filter whose `Filter.arguments` are given."""
    f = as_filter(fx, fy, size, factors, pads, flip, gain)
    if backend.usable(x) and plan.has_kernel(f):
        launch = plan.launch_of(dense(x, layout(x)), f)
        if backend.launch(launch.plan, x.device):
            return launch.result
    return eager.filtered(x, f)


@fir.register_fake
def _(x, fx, fy, size, factors, pads, flip, gain):
    f = as_filter(fx, fy, size, factors, pads, flip, gain)
    shape = (*x.shape[:2], *f.output_size(*x.shape[2:]))
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout(x))


def _remember(ctx, inputs, output) -> None:
    x, *constants = inputs
    ctx.filter, ctx.size, ctx.layout = as_filter(*constants), x.shape[2:], layout(x)


def _adjoint(ctx, dy: Tensor):
    dy = dy.contiguous(memory_format=ctx.layout)  # or all gradients behind it lie otherwise
    return filtered(dy, ctx.filter.adjoint(*ctx.size)), *[None] * 7


fir.register_autograd(_adjoint, setup_context=_remember)
