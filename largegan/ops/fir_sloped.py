"""A filter, and slopes of an activation before or behind it: what derivatives are made of.

"Filter, then slopes" and "slopes, then filter" are each other's adjoints, so that derivatives of
any order of `fir_act` and `act_fir` are these again, and sums.
"""

import torch
from torch import Tensor

from largegan.ops import fir_kernel
from largegan.ops.constants import PASS, Pass
from largegan.ops.filter import IDENTITY
from largegan.ops.fir import fir
from largegan.ops.fir_kernel import After, Before, Extras, Sums, usable
from largegan.ops.plan import dense, floats
from largegan.ops.registering import needed
from largegan.ops.slope import Leaky, edge, layout_of


@torch.library.custom_op(
    "largegan::fir_sloped",
    mutates_args=(),
    schema=f"(Tensor x, Tensor kept, Tensor? scale, bool before, {PASS}) -> Tensor",
)
def fir_sloped(x, kept, scale, before, *constants) -> Tensor:
    """x times scale and the slopes of an activation that left `kept`, filtered; or filtered first.

    Linear in x and in the scale; piecewise constant in `kept`.
    """
    does = Pass.of(*constants)
    if usable(x, does.filter):
        found = _sloped_kernel(x, kept, (scale, None, None, None), before, does, sums=False)
        if found is not None:
            return found[0]
    return _sloped(x, kept, scale, before, does)


@fir_sloped.register_fake
def _(x, kept, scale, before, *constants):
    return _empty(x, kept, before, Pass.of(*constants))


@torch.library.custom_op(
    "largegan::fir_sloped_sums",
    mutates_args=(),
    schema="(Tensor x, Tensor kept, Tensor? scale, Tensor? noise, Tensor? strength, Tensor? bias, "
    f"bool before, {PASS}) -> (Tensor, Tensor, Tensor, Tensor)",
)
def fir_sloped_sums(
    x, kept, scale, noise, strength, bias, before, *constants
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`fir_sloped`, and the gradients of bias `[C]`, scale `[N, C]` and strength in the same pass.

    It has no derivative: where one is wanted, `fir_sloped` and sums are used.
    """
    does, beside, (n, c) = Pass.of(*constants), (scale, noise, strength, bias), x.shape[:2]
    if usable(x, does.filter):
        found = _sloped_kernel(x, kept, beside, before, does, sums=True)
        if found is not None:
            return _totals(*found, scale)
    y, zero = _sloped(x, kept, scale, before, does), _empty_sum(x, ()).zero_()
    if not before:
        return y, y.sum([0, 2, 3], dtype=zero.dtype), zero.expand(n, c).clone(), zero
    dscale, _, dstrength, dbias = gradients_beside(x, kept, beside, does.leaky)
    dscale = zero.expand(n, c).clone() if dscale is None else dscale.to(zero.dtype)
    return y, dbias, dscale, zero if dstrength is None else dstrength.to(zero.dtype)


@fir_sloped_sums.register_fake
def _(x, kept, scale, noise, strength, bias, before, *constants):
    y, (n, c) = _empty(x, kept, before, Pass.of(*constants)), x.shape[:2]
    return y, _empty_sum(x, (c,)), _empty_sum(x, (n, c)), _empty_sum(x, ())


def _activated(x: Tensor, before: bool, does: Pass) -> torch.Size:
    """The shape of what had the activation."""
    return x.shape if before else does.shape(x)


def _empty(x: Tensor, kept: Tensor, before: bool, does: Pass) -> Tensor:
    form = layout_of(kept, _activated(x, before, does))
    return torch.empty(does.shape(x), dtype=x.dtype, device=x.device, memory_format=form)


def _sloped(x, kept, scale, before: bool, does: Pass) -> Tensor:
    f, shape = does.filter, _activated(x, before, does)
    factor = does.leaky.slopes(kept, shape, x.dtype)
    factor = factor if scale is None else factor * scale[:, :, None, None].to(x.dtype)
    y = fir(x * factor, *f.arguments()) if before else fir(x, *f.arguments()) * factor
    return y.contiguous(memory_format=layout_of(kept, shape))


def _sloped_kernel(
    x, kept, beside, before: bool, do: Pass, *, sums: bool
) -> tuple[Tensor, Sums | None] | None:
    shape, packed = _activated(x, before, do), kept.dtype == torch.uint8
    x, does = dense(x, layout_of(kept, shape)), Before if before else After
    flags = does.BITS if packed else does.RESULT
    flags |= does.CLAMP if do.leaky.clamp >= 0 else 0
    flags |= does.SCALE if beside[0] is not None else 0
    flags |= does.SUMS if sums else 0
    bits, result = (kept, None) if packed else (None, kept)
    flags = (flags, 0) if before else (0, flags)
    return fir_kernel.run(x, do.filter, *flags, extras(result, bits, beside, do.leaky))


def _totals(y: Tensor, sums: Sums, scale: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dbias, dscale, dstrength = sums.totals()
    return y, dbias, dscale if scale is None else dscale / scale, dstrength


def _keep_sloped(ctx, inputs, output) -> None:
    x, kept, scale, ctx.before, *constants = inputs
    ctx.does, ctx.size = Pass.of(*constants), x.shape[2:]
    ctx.save_for_backward(x if scale is not None else None, kept, scale)


def _sloped_gradients(ctx, dy: Tensor):
    x, kept, scale = ctx.saved_tensors
    back = ctx.does.adjoint(ctx.size).arguments()
    dx = fir_sloped(dy, kept, scale, not ctx.before, *back) if needed(ctx, 0) else None
    dscale = None
    if scale is not None and needed(ctx, 2):
        exact = torch.promote_types(dy.dtype, torch.float32)
        if ctx.before:  # <F M S x, dy> = S <x, M F' dy>
            product = x.to(exact) * fir_sloped(dy, kept, None, False, *back)
        else:
            there = fir_sloped(x, kept, None, False, *ctx.does.arguments())
            product = dy.to(exact) * there
        dscale = product.sum([2, 3]).to(scale.dtype)
    return dx, None, dscale, *[None] * 11


fir_sloped.register_autograd(_sloped_gradients, setup_context=_keep_sloped)


def gradients_beside(dy: Tensor, kept: Tensor, beside, leaky: Leaky) -> list[Tensor | None]:
    """Gradients of scale, noise (none), strength and bias; functions that have derivatives.

    With a scale `kept` is the result y = slope * z, so y * dy is z dz: minus the part of noise and
    bias, that is scale times its gradient. The derivative by x comes through y.
    """
    scale, noise, strength, bias = beside
    exact = torch.promote_types(dy.dtype, torch.float32)
    dz = fir_sloped(dy, kept, None, True, *Pass(IDENTITY, leaky).arguments()).to(exact)
    dstrength = None if noise is None else (dz * noise).sum()
    dscale = None
    if scale is not None:
        zdz = dy.to(exact) * kept
        if leaky.clamp >= 0:
            zdz = zdz.masked_fill(kept.detach().abs() >= edge(leaky.clamp, kept.dtype), 0)
        zdz = zdz if noise is None else zdz - dz * (noise * strength)
        zdz = zdz if bias is None else zdz - dz * bias[:, None, None]
        dscale = zdz.sum([2, 3]) / scale
    return [dscale, None, dstrength, dz.sum([0, 2, 3])]


def extras(result, bits, beside, leaky: Leaky) -> Extras:
    return Extras(result, bits, *(floats(t) for t in beside), *leaky)


def _empty_sum(x: Tensor, shape) -> Tensor:
    return x.new_empty(shape, dtype=torch.promote_types(x.dtype, torch.float32))
