"""`largegan::fir_act` and `largegan::act_fir`, operators that are a kernel, and when they are used.

On a GPU both are `fir.cu`; their backward passes and the derivatives of these are too, since the
adjoint of "filter, then multiply by slopes" is "multiply by slopes, then filter" (see `sloped`).
"""

import torch
from torch import Tensor

from largegan.ops.bias_act.activations import Activation
from largegan.ops.bias_act.operators import bias_act
from largegan.ops.bias_act.slope import bits_of, empty_bits, piecewise_linear
from largegan.ops.fir.filter import IDENTITY, Filter
from largegan.ops.fir.operators import filtered
from largegan.ops.fir.plan import After, Before, launch_of
from largegan.ops.fir_act.constants import BESIDE, PASS, Beside, Pass
from largegan.ops.fir_act.sloped import (
    extras,
    fir_sloped,
    fir_sloped_sums,
    gradients_beside,
    usable,
)
from largegan.ops.runtime import backend
from largegan.ops.runtime.layout import dense, layout
from largegan.ops.runtime.plan import Launch
from largegan.ops.runtime.registering import needed, operator


def fir_act(x: Tensor, f: Filter, beside: Beside, act: Activation) -> Tensor:
    """`act(scale * filter(x) + strength * noise + bias)`: one operator where it is a kernel."""
    leaky = piecewise_linear(act)
    if leaky is not None and fused(x, f):
        strength = None if beside.strength is None else beside.strength.reshape(())
        beside = beside._replace(strength=strength)
        return fir_then_act(x, *beside, *Pass(f, leaky).arguments())[0]
    y = x if f == IDENTITY else filtered(x, f)
    return bias_act(beside.scaled_and_noisy(y), beside.bias, act)


def act_fir(x: Tensor, f: Filter, bias: Tensor | None, act: Activation) -> Tensor:
    """`filter(act(x + bias))`: one operator where it is a kernel."""
    leaky = piecewise_linear(act)
    if leaky is not None and fused(x, f):
        return act_then_fir(x, bias, *Pass(f, leaky).arguments())[0]
    return filtered(bias_act(x, bias, act), f)


def fused(x: Tensor, f: Filter) -> bool:
    """Whether the operators below are to be used, or those that they are made of."""
    return usable(x, f)


@operator(
    "fir_act",
    f"(Tensor x, {BESIDE}, {PASS}) -> (Tensor, Tensor)",
)
def fir_then_act(x: Tensor, *arguments) -> tuple[Tensor, Tensor]:
    """(the result, its bits); with a scale, whose gradient needs the result, no bits."""
    beside, does = _split(arguments)
    if usable(x, does.filter):
        launch, bits = _fir_act_launch(x, beside, does)
        if backend.launch(launch.plan, x.device):
            return launch.result, _no_bits(x) if bits is None else bits
    z, (scale, noise, strength, bias) = filtered(x, does.filter), beside
    z = z if scale is None else z * scale[:, :, None, None]
    z = z if noise is None else z + noise * strength
    z = (z if bias is None else z + bias[:, None, None]).to(x.dtype)
    z = z.contiguous(memory_format=layout(x))
    return does.leaky(z), bits_of(does.leaky, z) if scale is None else _no_bits(x)


@fir_then_act.register_fake
def _(x, *arguments):
    beside, does = _split(arguments)
    y = _empty(x, does.shape(x))
    return y, empty_bits(x, y.shape) if beside.scale is None else _no_bits(x)


def _split(arguments) -> tuple[Beside, Pass]:
    return Beside(*arguments[:4]), Pass.of(*arguments[4:])


def _fir_act_launch(x: Tensor, beside: Beside, does: Pass) -> tuple[Launch, Tensor | None]:
    """The launch, and the bits that it writes if it does."""
    x = dense(x, layout(x))
    bits = empty_bits(x, does.shape(x)) if beside.scale is None else None
    after = After.ACT | (After.SCALE if bits is None else After.KEEP)
    after |= After.NOISE if beside.noise is not None else 0
    after |= After.BIAS if beside.bias is not None else 0
    after |= After.CLAMP if does.leaky.clamp >= 0 else 0
    around = extras(None, bits, beside, does.leaky)
    return launch_of(x, does.filter, after=after, extras=around), bits


def _keep_fir_act(ctx, inputs, output) -> None:
    x, *arguments = inputs
    beside, ctx.does = _split(arguments)
    ctx.size = x.shape[2:]
    ctx.save_for_backward(output[1 if beside.scale is None else 0], *beside)


def _fir_act_gradients(ctx, dy: Tensor, _):
    kept, *tensors = ctx.saved_tensors
    beside, back = Beside(*tensors), ctx.does.adjoint(ctx.size).arguments()
    places = [1 + sum(t is not None for t in beside[:i]) for i in range(4)]
    wanted = [t is not None and needed(ctx, i + 1, places[i]) for i, t in enumerate(beside)]
    if any(wanted) and not torch.is_grad_enabled():
        dx, dbias, dscale, dstrength = fir_sloped_sums(dy, kept, *beside, True, *back)
        found = Beside(dscale, None, dstrength, dbias)
    else:
        dx = fir_sloped(dy, kept, beside.scale, True, *back) if needed(ctx, 0) else None
        leaky = ctx.does.leaky
        found = gradients_beside(dy, kept, beside, leaky) if any(wanted) else Beside()
    found = [
        g.to(t.dtype) if want and g is not None else None
        for g, t, want in zip(found, beside, wanted, strict=True)
    ]
    return dx, *found, *[None] * 10


@operator(
    "act_fir",
    f"(Tensor x, Tensor? bias, {PASS}) -> (Tensor, Tensor)",
)
def act_then_fir(x: Tensor, bias: Tensor | None, *constants) -> tuple[Tensor, Tensor]:
    """(the result, the bits of the activation)."""
    f, leaky = Pass.of(*constants)
    if usable(x, f):
        x, bits = dense(x, layout(x)), empty_bits(x, x.shape)
        before = Before.ACT | Before.KEEP | (Before.BIAS if bias is not None else 0)
        before |= Before.CLAMP if leaky.clamp >= 0 else 0
        around = extras(None, bits, Beside(bias=bias), leaky)
        launch = launch_of(x, f, before=before, extras=around)
        if backend.launch(launch.plan, x.device):
            return launch.result, bits
    z = (x if bias is None else x + bias[:, None, None]).to(x.dtype)
    z = z.contiguous(memory_format=layout(x))
    return filtered(leaky(z), f), bits_of(leaky, z)


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
        dx, dbias, *_ = fir_sloped_sums(dy, bits, *Beside(), False, *back)
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
