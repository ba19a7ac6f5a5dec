"""Bias, activation, gain and clamp, one after the other."""

import torch.nn.functional as F
from torch import Tensor

from largegan.ops.bias_act.activations import ACTIVATIONS, Activation


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
    """The specification of `ops.bias_act`."""
    b = None if b is None else b.to(x.dtype)
    return activated(x, b, Activation.of(act, alpha, gain, clamp), dim)


def activated(x: Tensor, b: Tensor | None, act: Activation, dim: int = 1) -> Tensor:
    """`clip(act(x + b) * gain, -clamp, clamp)`."""
    x = x if b is None else x + along(b, dim % x.ndim, x.ndim)
    function = ACTIVATIONS[act.name].function
    x = F.leaky_relu(x, act.alpha) if function is None else function(x)
    x = x if act.gain == 1 else x * act.gain
    return x if act.clamp is None else x.clamp(-act.clamp, act.clamp)


def along(b: Tensor, dim: int, ndim: int) -> Tensor:
    """`[C]` along dimension `dim` of `ndim`."""
    return b.reshape([-1 if i == dim else 1 for i in range(ndim)])
