"""A filter, and slopes of an activation before or behind it: what derivatives are made of.

"Filter, then slopes" and "slopes, then filter" are each other's adjoints, so that derivatives of
any order of `fir_act` and `act_fir` are these again, and sums.
"""

import torch
from torch import Tensor

from largegan.ops.bias_act.leaky import Leaky, edge
from largegan.ops.bias_act.slope import layout_of, slopes_from
from largegan.ops.fir.eager import filtered as filtered_eagerly
from largegan.ops.fir.filter import IDENTITY, Filter
from largegan.ops.fir.plan import After, Before, Extras, has_kernel, launch_of
from largegan.ops.fir_act.constants import BESIDE, PASS, Beside, Pass
from largegan.ops.runtime import backend
from largegan.ops.runtime.layout import dense, floats
from largegan.ops.runtime.plan import Launch
from largegan.ops.runtime.registering import needed, operator


def usable(x: Tensor, f: Filter) -> bool:
    """Whether fir.cu should be tried."""
    return backend.usable(x) and has_kernel(f)


@operator(
    "fir_sloped",
    f"(Tensor x, Tensor kept, Tensor? scale, bool before, {PASS}) -> Tensor",
)
def fir_sloped(x, kept, scale, before, *constants) -> Tensor:
    """x times scale and the slopes of an activation that left `kept`, filtered; or filtered first.

    Linear in x and in the scale; piecewise constant in `kept`.
    """
    does = Pass.of(*constants)
    if usable(x, does.filter):
        launch = _launch(x, kept, Beside(scale), before, does, sums=False)
        if backend.launch(launch.plan, x.device):
            return launch.result
    return _sloped(x, kept, scale, before, does)


@fir_sloped.register_fake
def _(x, kept, scale, before, *constants):
    return _empty(x, kept, before, Pass.of(*constants))


@operator(
    "fir_sloped_sums",
    f"(Tensor x, Tensor kept, {BESIDE}, bool before, {PASS}) -> (Tensor, Tensor, Tensor, Tensor)",
)
def fir_sloped_sums(x, kept, *arguments) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`fir_sloped`, and the gradients of bias `[C]`, scale `[N, C]` and strength in the same pass.

    It has no derivative: where one is wanted, `fir_sloped` and sums are used.
    """
    beside, before, does = _split(arguments)
    if usable(x, does.filter):
        launch = _launch(x, kept, beside, before, does, sums=True)
        if backend.launch(launch.plan, x.device):
            return _with_totals(launch, beside.scale)
    y, zero = _sloped(x, kept, beside.scale, before, does), _empty_sum(x, ()).zero_()
    none = zero.expand(x.shape[:2]).clone()
    if not before:
        return y, y.sum([0, 2, 3], dtype=zero.dtype), none, zero
    dscale, _, dstrength, dbias = gradients_beside(x, kept, beside, does.leaky)
    dscale = none if dscale is None else dscale.to(zero.dtype)
    return y, dbias, dscale, zero if dstrength is None else dstrength.to(zero.dtype)


@fir_sloped_sums.register_fake
def _(x, kept, *arguments):
    (n, c), (_, before, does) = x.shape[:2], _split(arguments)
    sums = _empty_sum(x, (c,)), _empty_sum(x, (n, c)), _empty_sum(x, ())
    return _empty(x, kept, before, does), *sums


def _split(arguments) -> tuple[Beside, bool, Pass]:
    return Beside(*arguments[:4]), arguments[4], Pass.of(*arguments[5:])


def _activated(x: Tensor, before: bool, does: Pass) -> torch.Size:
    """The shape of what had the activation."""
    return x.shape if before else does.shape(x)


def _empty(x: Tensor, kept: Tensor, before: bool, does: Pass) -> Tensor:
    form = layout_of(kept, _activated(x, before, does))
    return torch.empty(does.shape(x), dtype=x.dtype, device=x.device, memory_format=form)


def _sloped(x, kept, scale, before: bool, does: Pass) -> Tensor:
    f, shape = does.filter, _activated(x, before, does)
    factor = slopes_from(does.leaky, kept, shape, x.dtype)
    factor = factor if scale is None else factor * scale[:, :, None, None].to(x.dtype)
    y = filtered_eagerly(x * factor, f) if before else filtered_eagerly(x, f) * factor
    return y.contiguous(memory_format=layout_of(kept, shape))


def _launch(x, kept, beside: Beside, before: bool, do: Pass, *, sums: bool) -> Launch:
    shape, packed = _activated(x, before, do), kept.dtype == torch.uint8
    x, does = dense(x, layout_of(kept, shape)), Before if before else After
    flags = does.BITS if packed else does.RESULT
    flags |= does.CLAMP if do.leaky.clamp >= 0 else 0
    flags |= does.SCALE if beside.scale is not None else 0
    flags |= does.SUMS if sums else 0
    bits, result = (kept, None) if packed else (None, kept)
    flags = (flags, 0) if before else (0, flags)
    return launch_of(x, do.filter, *flags, extras(result, bits, beside, do.leaky))


def _with_totals(launch: Launch, scale: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    dbias, dscale, dstrength = launch.sums.totals()
    return launch.result, dbias, dscale if scale is None else dscale / scale, dstrength


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


def gradients_beside(dy: Tensor, kept: Tensor, beside: Beside, leaky: Leaky) -> Beside:
    """Gradients of scale, noise (none), strength and bias; functions that have derivatives.

    With a scale `kept` is the result y = slope * z, so y * dy is z dz: minus the part of noise and
    bias, that is scale times its gradient. The derivative by x comes through y.
    """
    scale, noise, strength, bias = beside
    exact = torch.promote_types(dy.dtype, torch.float32)
    dz = fir_sloped(dy, kept, None, True, *Pass(IDENTITY, leaky).arguments()).to(exact)
    # Sums of each image first: what a gradient of these spreads out again stays channels_last.
    shift, noisy = dz.sum([2, 3]), None if noise is None else (dz * noise).sum([2, 3])
    dscale = None
    if scale is not None:
        zdz = dy.to(exact) * kept
        if leaky.clamp >= 0:
            clamped = kept.detach().abs() >= edge(leaky.clamp, kept.dtype)
            zdz = torch.where(clamped, 0, zdz)  # masked_fill would give up channels_last
        total = zdz.sum([2, 3])
        total = total if noisy is None else total - noisy * strength
        total = total if bias is None else total - shift * bias
        dscale = total / scale
    return Beside(dscale, None, None if noisy is None else noisy.sum(), shift.sum(0))


def extras(result, bits, beside: Beside, leaky: Leaky) -> Extras:
    """What stands around a filter, as the kernel takes it."""
    return Extras(result, bits, *(floats(t) for t in beside), *leaky)


def _empty_sum(x: Tensor, shape) -> Tensor:
    return x.new_empty(shape, dtype=torch.promote_types(x.dtype, torch.float32))
