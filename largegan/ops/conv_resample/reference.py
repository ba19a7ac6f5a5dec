"""Up-sampling, convolution and down-sampling, one after the other."""

from torch import Tensor

from largegan.ops.bias_act.reference import bias_act
from largegan.ops.conv.reference import conv2d
from largegan.ops.fir.filter import (
    Taps,
    downsampling_padding,
    four_sides,
    upsampling_padding,
)
from largegan.ops.fir.reference import upfirdn2d

NONE = (1.0,)


def conv2d_resample(
    x: Tensor,
    w: Tensor,
    f: Taps | None = None,
    *,
    up: int = 1,
    down: int = 1,
    padding=0,
    groups: int = 1,
    flip_weight: bool = True,
    flip_filter: bool = False,
) -> Tensor:
    """The specification of `ops.conv2d_resample`.

    The image goes on in zeros, so all padding is in front, where the image is.
    """
    fu, fd = NONE if f is None or up == 1 else f, NONE if f is None or down == 1 else f
    pads = downsampling_padding(fd, down, upsampling_padding(fu, up, four_sides(padding)))
    x = upfirdn2d(x, fu, up=up, padding=pads, flip=flip_filter, gain=up**2)
    x = conv2d(x, w if flip_weight else w.flip(2, 3), groups=groups)
    return upfirdn2d(x, fd, down=down, flip=flip_filter)


def act_conv2d_down(
    x: Tensor, w: Tensor, f: Taps, *, down: int, padding=0, bias=None, act, gain, clamp
) -> Tensor:
    """The specification of `ops.act_conv2d_down`."""
    x = bias_act(x, bias, act=act, gain=gain, clamp=clamp)
    return conv2d_resample(x, w, f, down=down, padding=padding)
