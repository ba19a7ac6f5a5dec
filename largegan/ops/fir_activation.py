"""`fir_act` and `act_fir`: FIR resampling and activation in one pass over the image.

On a GPU both are `kernels/fir.cu`; their backward passes and the derivatives of these are too,
since the adjoint of "filter, then multiply by slopes" is "multiply by slopes, then filter". Where
no kernel is to be had they are `upfirdn2d` and `bias_act`, which is also what they mean.
"""

import torch
from torch import Tensor

from largegan.ops import fir_kernel
from largegan.ops.activation import bias_act, piecewise_linear
from largegan.ops.constants import PASS, Pass
from largegan.ops.filter import IDENTITY, Filter
from largegan.ops.fir import Taps, fir, resampling
from largegan.ops.fir_kernel import After, Before, usable
from largegan.ops.fir_sloped import extras, fir_sloped, fir_sloped_sums, gradients_beside
from largegan.ops.plan import dense
from largegan.ops.registering import layout, needed
from largegan.ops.slope import empty_bits


def fir_act(
    x: Tensor,
    f: Taps,
    *,
    up: int = 1,
    padding=0,
    fir_gain: float = 1.0,
    scale: Tensor | None = None,
    noise: Tensor | None = None,
    noise_strength: Tensor | None = None,
    bias: Tensor | None = None,
    act: str = "lrelu",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """`bias_act(scale * upfirdn2d(x, f) + noise_strength * noise, bias)`; gradients of any order.

    `scale` `[N, C]`, `bias` `[C]`, `noise` `[N, 1, H, W]` or `[H, W]` of the result's size, which
    is a constant, and `noise_strength` of one number. A kernel finds the gradient of `scale` by
    dividing by it: where scale is 0 that gradient is not finite.
    """
    if (noise is None) != (noise_strength is None):
        raise ValueError("noise and noise_strength come together")
    noise = noise if noise is None or noise.ndim == 4 else noise[None, None]
    filtering = resampling(f, up=up, padding=padding, gain=fir_gain)
    leaky = piecewise_linear(act, alpha, gain, clamp)
    if leaky is not None and fused(x, filtering):
        strength = None if noise_strength is None else noise_strength.reshape(())
        beside = scale, None if noise is None else noise.detach(), strength, bias
        return fir_then_act(x, *beside, *Pass(filtering, leaky).arguments())[0]
    y = x if filtering == IDENTITY else fir(x, *filtering.arguments())
    y = y if scale is None else y * scale[:, :, None, None].to(y.dtype)
    if noise is not None:
        y = y + (noise.detach().to(noise_strength.dtype) * noise_strength).to(y.dtype)
    return bias_act(y, bias, act=act, alpha=alpha, gain=gain, clamp=clamp)


def act_fir(
    x: Tensor,
    f: Taps,
    *,
    down: int = 1,
    padding=0,
    fir_gain: float = 1.0,
    bias: Tensor | None = None,
    act: str = "lrelu",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """`upfirdn2d(bias_act(x, bias), f)`; gradients of any order. Padding is zeros, not activated.

    A kernel keeps two bits of each activation for the backward pass, not the activation.
    """
    filtering = resampling(f, down=down, padding=padding, gain=fir_gain)
    leaky = piecewise_linear(act, alpha, gain, clamp)
    if leaky is not None and fused(x, filtering):
        return act_then_fir(x, bias, *Pass(filtering, leaky).arguments())[0]
    y = bias_act(x, bias, act=act, alpha=alpha, gain=gain, clamp=clamp)
    return fir(y, *filtering.arguments())


def fused(x: Tensor, f: Filter) -> bool:
    """Whether the operators below are to be used, or those that they are made of."""
    return usable(x, f)


BESIDE = "Tensor? scale, Tensor? noise, Tensor? strength, Tensor? bias"


@torch.library.custom_op(
    "largegan::fir_act",
    mutates_args=(),
    schema=f"(Tensor x, {BESIDE}, {PASS}) -> (Tensor, Tensor)",
)
def fir_then_act(x, scale, noise, strength, bias, *constants) -> tuple[Tensor, Tensor]:
    """(the result, its bits); with a scale, whose gradient needs the result, no bits."""
    f, leaky = does = Pass.of(*constants)
    if usable(x, f):
        found = _fir_act_kernel(x, (scale, noise, strength, bias), does)
        if found is not None:
            return found
    z = fir(x, *f.arguments())
    z = z if scale is None else z * scale[:, :, None, None]
    z = z if noise is None else z + noise * strength
    z = (z if bias is None else z + bias[:, None, None]).to(x.dtype)
    z = z.contiguous(memory_format=layout(x))
    return leaky(z), leaky.bits(z) if scale is None else _no_bits(x)


@fir_then_act.register_fake
def _(x, scale, noise, strength, bias, *constants):
    y = _empty(x, Pass.of(*constants).shape(x))
    return y, empty_bits(x, y.shape) if scale is None else _no_bits(x)


def _fir_act_kernel(x, beside, does: Pass) -> tuple[Tensor, Tensor] | None:
    scale, noise, _, bias = beside
    x = dense(x, layout(x))
    bits = empty_bits(x, does.shape(x)) if scale is None else None
    after = After.ACT | (After.KEEP if scale is None else After.SCALE)
    after |= After.NOISE if noise is not None else 0
    after |= After.BIAS if bias is not None else 0
    after |= After.CLAMP if does.leaky.clamp >= 0 else 0
    around = extras(None, bits, beside, does.leaky)
    found = fir_kernel.run(x, does.filter, after=after, extras=around)
    return None if found is None else (found[0], _no_bits(x) if bits is None else bits)


def _keep_fir_act(ctx, inputs, output) -> None:
    x, scale, noise, strength, bias, *constants = inputs
    ctx.does, ctx.size = Pass.of(*constants), x.shape[2:]
    ctx.save_for_backward(output[1 if scale is None else 0], scale, noise, strength, bias)


def _fir_act_gradients(ctx, dy: Tensor, _):
    kept, *beside = ctx.saved_tensors
    back = ctx.does.adjoint(ctx.size).arguments()
    places = [1 + sum(t is not None for t in beside[:i]) for i in range(4)]
    wanted = [t is not None and needed(ctx, i + 1, places[i]) for i, t in enumerate(beside)]
    if any(wanted) and not torch.is_grad_enabled():
        dx, dbias, dscale, dstrength = fir_sloped_sums(dy, kept, *beside, True, *back)
        found = [dscale, None, dstrength, dbias]
    else:
        dx = fir_sloped(dy, kept, beside[0], True, *back) if needed(ctx, 0) else None
        leaky = ctx.does.leaky
        found = gradients_beside(dy, kept, beside, leaky) if any(wanted) else [None] * 4
    found = [
        g.to(t.dtype) if want and g is not None else None
        for g, t, want in zip(found, beside, wanted, strict=True)
    ]
    return dx, *found, *[None] * 10


@torch.library.custom_op(
    "largegan::act_fir",
    mutates_args=(),
    schema=f"(Tensor x, Tensor? bias, {PASS}) -> (Tensor, Tensor)",
)
def act_then_fir(x: Tensor, bias: Tensor | None, *constants) -> tuple[Tensor, Tensor]:
    """(the result, the bits of the activation)."""
    f, leaky = Pass.of(*constants)
    if usable(x, f):
        x, bits = dense(x, layout(x)), empty_bits(x, x.shape)
        before = Before.ACT | Before.KEEP | (Before.BIAS if bias is not None else 0)
        before |= Before.CLAMP if leaky.clamp >= 0 else 0
        beside = extras(None, bits, (None, None, None, bias), leaky)
        found = fir_kernel.run(x, f, before=before, extras=beside)
        if found is not None:
            return found[0], bits
    z = (x if bias is None else x + bias[:, None, None]).to(x.dtype)
    z = z.contiguous(memory_format=layout(x))
    return fir(leaky(z), *f.arguments()), leaky.bits(z)


@act_then_fir.register_fake
def _(x, bias, *constants):
    return _empty(x, Pass.of(*constants).shape(x)), empty_bits(x, x.shape)


def _keep_act_fir(ctx, inputs, output) -> None:
    x, bias, *constants = inputs
    ctx.does, ctx.size = Pass.of(*constants), x.shape[2:]
    ctx.bias_type = None if bias is None else bias.dtype
    ctx.save_for_backward(output[1])


def _act_fir_gradients(ctx, dy: Tensor, _):
    (bits,) = ctx.saved_tensors
    back = ctx.does.adjoint(ctx.size).arguments()
    wanted = ctx.bias_type is not None and needed(ctx, 1)
    if wanted and not torch.is_grad_enabled():
        nothing = [None] * 4
        dx, dbias, *_ = fir_sloped_sums(dy, bits, *nothing, False, *back)
        return dx, dbias.to(ctx.bias_type), *[None] * 10
    dx = fir_sloped(dy, bits, None, False, *back)
    exact = torch.promote_types(dy.dtype, torch.float32)
    dbias = dx.sum([0, 2, 3], dtype=exact).to(ctx.bias_type) if wanted else None
    return dx, dbias, *[None] * 10


fir_then_act.register_autograd(_fir_act_gradients, setup_context=_keep_fir_act)
act_then_fir.register_autograd(_act_fir_gradients, setup_context=_keep_act_fir)


def _empty(x: Tensor, shape) -> Tensor:
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout(x))


def _no_bits(x: Tensor) -> Tensor:
    return x.new_empty(0, dtype=torch.uint8)
