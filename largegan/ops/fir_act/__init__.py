"""`fir_act` and `act_fir`: FIR resampling and activation in one pass over the image."""

from torch import Tensor

from largegan.ops.bias_act.activations import Activation
from largegan.ops.fir.filter import Taps, resampling
from largegan.ops.fir_act import operators
from largegan.ops.fir_act.constants import Beside

__all__ = ["act_fir", "fir_act"]


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
    """FIR resampling, and behind it scale, noise, bias and activation.

    `bias_act(scale * upfirdn2d(x, f) + noise_strength * noise, bias)`, with gradients of any order.
    `scale` `[N, C]`, `bias` `[C]`, `noise` `[N, 1, H, W]` or `[H, W]` of the result's size, which
    is a constant, and `noise_strength` of one number. A kernel finds the gradient of `scale` by
    dividing by it: where scale is 0 that gradient is not finite.
    """
    filtering = resampling(f, up=up, padding=padding, gain=fir_gain)
    beside = Beside.of(scale, noise, noise_strength, bias)
    return operators.fir_act(x, filtering, beside, Activation.of(act, alpha, gain, clamp))


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
    """Bias and activation, and behind them FIR resampling: `upfirdn2d(bias_act(x, bias), f)`.

    Gradients are of any order. Padding is zeros, not activated. A kernel keeps two bits of each
    activation for the backward pass, not the activation.
    """
    filtering = resampling(f, down=down, padding=padding, gain=fir_gain)
    return operators.act_fir(x, filtering, bias, Activation.of(act, alpha, gain, clamp))
