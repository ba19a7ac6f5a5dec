"""`filtered_lrelu`: an activation between two filters, so that it adds no frequency that aliases
(Karras et al., 2021, StyleGAN3, section 3.2)."""

from torch import Tensor

from largegan.ops.activation import ROOT2, bias_act
from largegan.ops.fir import Taps, upfirdn2d

IDENTITY = (1.0,)


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
    """`[N, C, H, W]` -> `[N, C, (up H + top + bottom - taps of fu - taps of fd + 2) / down, ...]`.

    Adds `b` `[C]`, up-samples by `fu`, applies a leaky ReLU of `slope`, times `gain`, within
    `clamp`, and down-samples by `fd`. `padding` is counted at the high resolution, in front of the
    first filter; None is no filter. Up-sampling has the gain that zero insertion loses. Gradients
    of any order go to `x` and `b`.
    """
    x = x if b is None else x + b.to(x.dtype)[:, None, None]
    fu, fd = IDENTITY if fu is None else fu, IDENTITY if fd is None else fd
    x = upfirdn2d(x, fu, up=up, padding=padding, flip=flip, gain=up**2)
    x = bias_act(x, act="lrelu", alpha=slope, gain=gain, clamp=clamp)
    return upfirdn2d(x, fd, down=down, flip=flip)
