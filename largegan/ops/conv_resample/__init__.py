"""`conv2d_resample` and `act_conv2d_down`: convolutions that change the resolution."""

from torch import Tensor

from largegan.ops.bias_act.activations import Activation
from largegan.ops.conv import conv2d
from largegan.ops.conv_resample.resample import conv2d_resample
from largegan.ops.fir.filter import Taps, downsampling_padding, resampling
from largegan.ops.fir_act.operators import act_fir

__all__ = ["act_conv2d_down", "conv2d_resample"]


def act_conv2d_down(
    x: Tensor, w: Tensor, f: Taps, *, down: int, padding=0, bias=None, act, gain, clamp
) -> Tensor:
    """Bias and activation, and behind them a down-sampling convolution.

    `conv2d_resample(bias_act(x, bias, ...), w, f, down=down)`, activation and filter in one pass.
    """
    filtering = resampling(f, padding=downsampling_padding(f, down, padding))
    x = act_fir(x, filtering, bias, Activation.of(act, None, gain, clamp))
    return conv2d(x, w, stride=down)
