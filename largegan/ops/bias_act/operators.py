"""`largegan::leaky`, an activation that keeps its result alone, and its slope."""

import torch
import torch.nn.functional as F
from torch import Tensor

from largegan.ops.bias_act import plan
from largegan.ops.bias_act.activations import Activation
from largegan.ops.bias_act.leaky import Leaky, edge
from largegan.ops.bias_act.reference import activated, along
from largegan.ops.bias_act.slope import piecewise_linear
from largegan.ops.runtime import backend
from largegan.ops.runtime.registering import needed, operator


def bias_act(x: Tensor, b: Tensor | None, act: Activation, dim: int = 1) -> Tensor:
    """One operator for (leaky) ReLU; PyTorch's operations for the rest."""
    b, constants = None if b is None else b.to(x.dtype), piecewise_linear(act)
    if constants is None or act.name == "linear" or backend.plain():
        return activated(x, b, act, dim)
    return leaky(x, b, dim % x.ndim, *constants)


@operator("leaky")
def leaky(x: Tensor, b: Tensor | None, dim: int, alpha: float, gain: float, clamp: float) -> Tensor:
    """Leaky ReLU (alpha 0: ReLU) of x + b, times `gain` > 0; `clamp` < 0: no clamp."""
    if backend.usable(x):
        launch = plan.forward(x, b, dim, Leaky(alpha, gain, clamp))
        if launch is not None and backend.launch(launch.plan, x.device):
            return launch.result
    # Positive factors commute with it, so gain and bias share one pass over the image.
    y = x * gain if b is None else torch.add(along(b * gain, dim, x.ndim), x, alpha=gain)
    y = y.relu_() if alpha == 0 else F.leaky_relu_(y, alpha)
    return y.clamp_(-clamp, clamp) if clamp >= 0 else y


@leaky.register_fake
def _(x, b, dim, alpha, gain, clamp):
    return x * gain if b is None else torch.add(along(b * gain, dim, x.ndim), x, alpha=gain)


@operator("leaky_slope")
def leaky_slope(dy: Tensor, y: Tensor, alpha: float, gain: float, clamp: float) -> Tensor:
    """dy times the slope at which `leaky` gave y; linear in dy, piecewise constant in y."""
    if backend.usable(y):
        dim = min(1, y.ndim - 1)  # any: no sums are wanted
        launch = plan.backward(dy, y, dim, Leaky(alpha, gain, clamp), sums=False)
        if launch is not None and backend.launch(launch.plan, y.device):
            return launch.result
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


@operator("leaky_slope_sum")
def leaky_slope_sum(
    dy: Tensor, y: Tensor, dim: int, alpha: float, gain: float, clamp: float
) -> tuple[Tensor, Tensor]:
    """`leaky_slope`, and its sums along all dimensions but one, in the same pass.

    It has no derivative: where one is wanted, `leaky_slope` and a sum are used.
    """
    if backend.usable(y):
        launch = plan.backward(dy, y, dim, Leaky(alpha, gain, clamp), sums=True)
        if launch is not None and backend.launch(launch.plan, y.device):
            return launch.result, plan.total(launch.sums, y, dim).to(y.dtype)
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
