"""`largegan::filtered_lrelu` and its slopes: operators that are one kernel.

`filtered_lrelu.cu` is also their backward pass and the derivative of that: the adjoint of "filter,
slopes, filter" is the same with the filters exchanged.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from largegan.ops.filtered_lrelu import plan
from largegan.ops.filtered_lrelu.constants import SANDWICH, Sandwich
from largegan.ops.fir.operators import filtered
from largegan.ops.runtime import backend
from largegan.ops.runtime.layout import layout
from largegan.ops.runtime.registering import needed, operator


def fused(x: Tensor, constants: Sandwich) -> bool:
    """Whether the operators below are to be used, or those that they are made of."""
    return _usable(x, constants)


def _usable(x: Tensor, s: Sandwich) -> bool:
    """Whether the kernel should be tried."""
    return backend.usable(x) and plan.has_kernel(s, x.shape[2:])


def in_one_pass(x: Tensor, b: Tensor | None, s: Sandwich) -> Tensor:
    """`second(leaky(first(x + b)))`; without gradients to come no bits are kept."""
    wanted = x.requires_grad or (b is not None and b.requires_grad)
    keep = torch.is_grad_enabled() and wanted
    return between_filters(x, b, keep, *s.arguments())[0]


@operator(
    "filtered_lrelu",
    f"(Tensor x, Tensor? b, bool keep, {SANDWICH}) -> (Tensor, Tensor)",
)
def between_filters(x: Tensor, b: Tensor | None, keep: bool, *constants) -> tuple[Tensor, Tensor]:
    """(the result, the bits of the activation; none unless `keep`)."""
    s = Sandwich.of(*constants)
    if _usable(x, s):
        bits = _empty_bits(x, s, keep)
        launch = plan.launch_of(x, s, b, bits if keep else None, act=True)
        if backend.launch(launch.plan, x.device):
            return launch.result.contiguous(memory_format=layout(x)), bits
    z = x if b is None else (x + b[:, None, None]).to(x.dtype)
    z = filtered(z, s.first)
    y = filtered(s.leaky(z), s.second).contiguous(memory_format=layout(x))
    return y, _packed(s.leaky.flags(z)) if keep else _empty_bits(x, s, keep)


@between_filters.register_fake
def _(x, b, keep, *constants):
    s = Sandwich.of(*constants)
    return _empty_result(x, s), _empty_bits(x, s, keep)


def _keep(ctx, inputs, output) -> None:
    x, b, _, *constants = inputs
    ctx.constants, ctx.size = Sandwich.of(*constants), x.shape[2:]
    ctx.bias_type = None if b is None else b.dtype
    ctx.save_for_backward(output[1])


def _gradients(ctx, dy: Tensor, _):
    (bits,) = ctx.saved_tensors
    dx = slopes_between(dy, bits, *ctx.constants.adjoint(ctx.size).arguments())
    db = None
    if ctx.bias_type is not None and needed(ctx, 1):
        exact = torch.promote_types(dy.dtype, torch.float32)
        db = dx.sum([0, 2, 3], dtype=exact).to(ctx.bias_type)
    return dx, db, *[None] * 18


between_filters.register_autograd(_gradients, setup_context=_keep)


@operator(
    "filtered_slopes",
    f"(Tensor x, Tensor bits, {SANDWICH}) -> Tensor",
)
def slopes_between(x: Tensor, bits: Tensor, *constants) -> Tensor:
    """x filtered, times the slopes of an activation that left these bits, filtered; linear in x."""
    s = Sandwich.of(*constants)
    if _usable(x, s):
        launch = plan.launch_of(x, s, bits=bits, act=False)
        if backend.launch(launch.plan, x.device):
            return launch.result.contiguous(memory_format=layout(x))
    z = filtered(x, s.first)
    z = z * s.leaky.slopes_at(_unpacked(bits, z.shape[2]), z.dtype)
    return filtered(z, s.second).contiguous(memory_format=layout(x))


@slopes_between.register_fake
def _(x, bits, *constants):
    return _empty_result(x, Sandwich.of(*constants))


def _keep_bits(ctx, inputs, output) -> None:
    x, bits, *constants = inputs
    ctx.constants, ctx.size = Sandwich.of(*constants), x.shape[2:]
    ctx.save_for_backward(bits)


def _gradient_again(ctx, dy: Tensor):
    (bits,) = ctx.saved_tensors
    back = ctx.constants.adjoint(ctx.size).arguments()
    return slopes_between(dy, bits, *back), *[None] * 18


slopes_between.register_autograd(_gradient_again, setup_context=_keep_bits)


def _empty_result(x: Tensor, s: Sandwich) -> Tensor:
    shape = (*x.shape[:2], *s.sizes(x.shape[2:])[1])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout(x))


def _empty_bits(x: Tensor, s: Sandwich, keep: bool) -> Tensor:
    """`[N, C, rows / 4, columns]` of the middle image: a byte has four rows."""
    h, w = s.sizes(x.shape[2:])[0]
    return x.new_empty((*x.shape[:2], -(-h // 4), w) if keep else (0,), dtype=torch.uint8)


def _packed(flags: Tensor) -> Tensor:
    """Rows that the last byte lacks count as clamped."""
    flags = F.pad(flags, (0, 0, 0, -flags.shape[2] % 4), value=2)
    places = torch.tensor([1, 4, 16, 64], dtype=torch.uint8, device=flags.device)
    return (flags.unflatten(2, (-1, 4)) * places[:, None]).sum(3, dtype=torch.uint8)


def _unpacked(bits: Tensor, height: int) -> Tensor:
    places = torch.tensor([0, 2, 4, 6], dtype=torch.uint8, device=bits.device)
    return (bits[:, :, :, None] >> places[:, None]).flatten(2, 3)[:, :, :height]
