"""Bias, up-sampling, leaky ReLU and down-sampling, one after the other."""

from torch import Tensor

from largegan.ops.bias_act.activations import ROOT2
from largegan.ops.bias_act.reference import bias_act
from largegan.ops.fir.filter import Taps
from largegan.ops.fir.reference import upfirdn2d

NONE = (1.0,)


def filtered_lrelu(
    x: Tensor,
    fu: Taps | None,
    fd: Taps | None,
    b: Tensor | None = None,
    *,
    up: int = 1,
    down: int = 1,
    padding=0,
    gain: float = ROOT2,
    slope: float = 0.2,
    clamp: float | None = None,
    flip: bool = False,
) -> Tensor:
    """The specification of `ops.filtered_lrelu`."""
    fu, fd = NONE if fu is None else fu, NONE if fd is None else fd
    x = x if b is None else x + b.to(x.dtype)[:, None, None]
    x = upfirdn2d(x, fu, up=up, padding=padding, flip=flip, gain=up**2)
    x = bias_act(x, act="lrelu", alpha=slope, gain=gain, clamp=clamp)
    return upfirdn2d(x, fd, down=down, flip=flip)
