"""Resampling and activation, one after the other."""

from torch import Tensor

from largegan.ops.bias_act.reference import bias_act
from largegan.ops.fir.filter import Taps
from largegan.ops.fir.reference import upfirdn2d
from largegan.ops.fir_act.constants import Beside


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
    """The specification of `ops.fir_act`."""
    y = upfirdn2d(x, f, up=up, padding=padding, gain=fir_gain)
    y = Beside.of(scale, noise, noise_strength, bias).scaled_and_noisy(y)
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
    """The specification of `ops.act_fir`."""
    y = bias_act(x, bias, act=act, alpha=alpha, gain=gain, clamp=clamp)
    return upfirdn2d(y, f, down=down, padding=padding, gain=fir_gain)
