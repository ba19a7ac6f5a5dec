"""`bias_act`: bias, activation, gain and clamp in one call."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from largegan.ops import backend, pointwise_kernel
from largegan.ops.registering import needed
from largegan.ops.slope import Leaky, edge

ROOT2 = 2**0.5


class Activation(NamedTuple):
    """`gain` is the default: it keeps the second moment of normal numbers, roughly."""

    gain: float
    function: Callable[[Tensor], Tensor] | None = None  # None: a piecewise-linear one
    alpha: float = 0.0  # the slope below zero


ACTIVATIONS = {
    "linear": Activation(1.0, lambda x: x),
    "relu": Activation(ROOT2),
    "lrelu": Activation(ROOT2, alpha=0.2),
    "tanh": Activation(1.0, torch.tanh),
    "sigmoid": Activation(1.0, torch.sigmoid),
    "elu": Activation(1.0, F.elu),
    "selu": Activation(1.0, F.selu),
    "softplus": Activation(1.0, F.softplus),
    "silu": Activation(ROOT2, F.silu),
    "swish": Activation(ROOT2, F.silu),
    "gelu": Activation(ROOT2, F.gelu),
}


def bias_act(
    x: Tensor,
    b: Tensor | None = None,
    *,
    act: str = "lrelu",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    dim: int = 1,
) -> Tensor:
    """`clip(act(x + b) * gain, -clamp, clamp)`; `b` `[C]` lies along `dim` of `x`.

    `alpha`, the slope of lrelu below zero, and `gain` have defaults that belong to `act`. The
    piecewise-linear activations, which image networks are made of, are one operator and keep
    their result alone for the backward pass; the smooth ones are PyTorch's.
    """
    default, alpha, gain = _constants(act, alpha, gain)
    b = None if b is None else b.to(x.dtype)
    # From its result one can tell the slope, as long as signs survive.
    if default.function is None and gain > 0 and alpha >= 0:
        return leaky(x, b, dim % x.ndim, alpha, gain, -1.0 if clamp is None else clamp)
    x = x if b is None else x + _along(b, dim % x.ndim, x.ndim)
    x = F.leaky_relu(x, alpha) if default.function is None else default.function(x)
    x = x if gain == 1 else x * gain
    return x if clamp is None else x.clamp(-clamp, clamp)


def _constants(
    act: str, alpha: float | None, gain: float | None
) -> tuple[Activation, float, float]:
    if act not in ACTIVATIONS:
        raise ValueError(f"act is {act!r}: give one of {', '.join(ACTIVATIONS)}")
    default = ACTIVATIONS[act]
    alpha = default.alpha if alpha is None or act != "lrelu" else alpha
    return default, alpha, default.gain if gain is None else gain


def piecewise_linear(
    act: str, alpha: float | None, gain: float | None, clamp: float | None
) -> Leaky | None:
    """The activation as kernels have it; None if it is a smooth one, or turns signs around."""
    default, alpha, gain = _constants(act, alpha, gain)
    if (act != "linear" and (default.function is not None or alpha < 0)) or gain <= 0:
        return None
    return Leaky(1.0 if act == "linear" else alpha, gain, -1.0 if clamp is None else clamp)


@torch.library.custom_op("largegan::leaky", mutates_args=())
def leaky(x: Tensor, b: Tensor | None, dim: int, alpha: float, gain: float, clamp: float) -> Tensor:
    """Leaky ReLU (alpha 0: ReLU) of x + b, times `gain` > 0; `clamp` < 0: no clamp."""
    if backend.usable(x):
        y = pointwise_kernel.leaky(x, b, dim, Leaky(alpha, gain, clamp))
        if y is not None:
            return y
    # Positive factors commute with it, so gain and bias share one pass over the image.
    y = x * gain if b is None else torch.add(_along(b * gain, dim, x.ndim), x, alpha=gain)
    y = y.relu_() if alpha == 0 else F.leaky_relu_(y, alpha)
    return y.clamp_(-clamp, clamp) if clamp >= 0 else y


@leaky.register_fake
def _(x, b, dim, alpha, gain, clamp):
    return x * gain if b is None else torch.add(_along(b * gain, dim, x.ndim), x, alpha=gain)


@torch.library.custom_op("largegan::leaky_slope", mutates_args=())
def leaky_slope(dy: Tensor, y: Tensor, alpha: float, gain: float, clamp: float) -> Tensor:
    """dy times the slope at which `leaky` gave y; linear in dy, piecewise constant in y."""
    if backend.usable(y):
        dim = min(1, y.ndim - 1)  # any: no sums are wanted
        found = pointwise_kernel.leaky_grad(dy, y, dim, Leaky(alpha, gain, clamp), sums=False)
        if found is not None:
            return found[0]
    return _sloped(dy, y, alpha, gain, clamp)


@leaky_slope.register_fake
def _(dy, y, alpha, gain, clamp):
    return _sloped(dy, y, alpha, gain, clamp)


def _sloped(dy: Tensor, y: Tensor, alpha: float, gain: float, clamp: float) -> Tensor:
    dx = torch.ops.aten.leaky_relu_backward(dy * gain, y, alpha, True)
    if clamp < 0:
        return dx
    bound = edge(clamp, y.dtype)
    return torch.ops.aten.hardtanh_backward(dx, y, -bound, bound)


@torch.library.custom_op("largegan::leaky_slope_sum", mutates_args=())
def leaky_slope_sum(
    dy: Tensor, y: Tensor, dim: int, alpha: float, gain: float, clamp: float
) -> tuple[Tensor, Tensor]:
    """`leaky_slope`, and its sums along all dimensions but one, in the same pass.

    It has no derivative: where one is wanted, `leaky_slope` and a sum are used.
    """
    if backend.usable(y):
        found = pointwise_kernel.leaky_grad(dy, y, dim, Leaky(alpha, gain, clamp), sums=True)
        if found is not None:
            return found[0], found[1].to(y.dtype)
    dx = _sloped(dy, y, alpha, gain, clamp)
    return dx, dx.sum([i for i in range(y.ndim) if i != dim])


@leaky_slope_sum.register_fake
def _(dy, y, dim, alpha, gain, clamp):
    return _sloped(dy, y, alpha, gain, clamp), y.new_empty(y.shape[dim])


def _keep(ctx, inputs, output) -> None:
    _, b, ctx.dim, *ctx.constants = inputs
    ctx.bias = b is not None
    ctx.save_for_backward(output)


def _slope(ctx, dy: Tensor):
    (y,) = ctx.saved_tensors
    biased = ctx.bias and needed(ctx, 1)
    if biased and not torch.is_grad_enabled():
        return *leaky_slope_sum(dy, y, ctx.dim, *ctx.constants), None, None, None, None
    dx = leaky_slope(dy, y, *ctx.constants)
    db = dx.sum([i for i in range(y.ndim) if i != ctx.dim]) if biased else None
    return dx, db, None, None, None, None


def _keep_slope(ctx, inputs, output) -> None:
    _, y, *ctx.constants = inputs
    ctx.save_for_backward(y)


def _slope_again(ctx, ddx: Tensor):
    (y,) = ctx.saved_tensors
    return leaky_slope(ddx, y, *ctx.constants), None, None, None, None


leaky.register_autograd(_slope, setup_context=_keep)
leaky_slope.register_autograd(_slope_again, setup_context=_keep_slope)


def _along(b: Tensor, dim: int, ndim: int) -> Tensor:
    return b.reshape([-1 if i == dim else 1 for i in range(ndim)])
