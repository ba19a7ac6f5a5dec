"""`filtered_lrelu`: an activation between two filters, so that it adds no frequency that aliases
(Karras et al., 2021, StyleGAN3, section 3.2).

On a GPU it is one kernel. Filters that do not separate, and factors other than 1, 2 and 4, are
`fir_act` and `upfirdn2d`.
"""

from torch import Tensor

from largegan.ops.bias_act.activations import ROOT2, Activation
from largegan.ops.bias_act.operators import bias_act
from largegan.ops.bias_act.slope import piecewise_linear
from largegan.ops.filtered_lrelu import operators
from largegan.ops.filtered_lrelu.constants import Sandwich
from largegan.ops.fir.filter import Filter, Taps, resampling
from largegan.ops.fir.operators import filtered
from largegan.ops.fir_act.constants import Beside
from largegan.ops.fir_act.operators import fir_act

__all__ = ["filtered_lrelu"]
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
    """Bias, and a leaky ReLU between an up-sampling and a down-sampling filter.

    `[N, C, H, W]` -> `[N, C, (up H + top + bottom - taps of fu - taps of fd + 2) / down, ...]`.
    Adds `b` `[C]`, up-samples by `fu`, applies a leaky ReLU of `slope`, times `gain`, within
    `clamp`, and down-samples by `fd`. `padding` is counted at the high resolution, in front of the
    first filter; None is no filter. Up-sampling has the gain that zero insertion loses. Gradients
    of any order go to `x` and `b`.
    """
    act = Activation.of("lrelu", slope, gain, clamp)
    if fu is fd is None and up == down == 1 and padding == 0:
        return bias_act(x, b, act)
    first = resampling(NONE if fu is None else fu, up=up, padding=padding, flip=flip, gain=up**2)
    second = resampling(NONE if fd is None else fd, down=down, flip=flip)
    leaky = piecewise_linear(act)
    if leaky is not None and operators.fused(x, Sandwich(first, second, leaky)):
        return operators.in_one_pass(x, b, Sandwich(first, second, leaky))
    return _in_two_passes(x, b, first, second, act)


def _in_two_passes(
    x: Tensor, b: Tensor | None, first: Filter, second: Filter, act: Activation
) -> Tensor:
    """Up-sampling with the activation, and down-sampling."""
    x = x if b is None else x + b.to(x.dtype)[:, None, None]
    return filtered(fir_act(x, first, Beside(), act), second)
