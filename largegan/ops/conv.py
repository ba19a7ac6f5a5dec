"""Convolutions: `conv2d`, `conv_transpose2d`, and `conv2d_resample`, which also changes size."""

import torch.nn.functional as F
from torch import Tensor

from largegan.ops.fir import (
    _padding,
    downsampling_padding,
    upfirdn2d,
    upsampling_padding,
)

IDENTITY = (1.0,)


def conv2d(x: Tensor, w: Tensor, bias=None, *, stride=1, padding=0, groups=1) -> Tensor:
    """`[N, I, H, W]`, `[O, I / groups, h, w]` -> `[N, O, ...]`, as `F.conv2d`."""
    return F.conv2d(x, w, bias, stride, padding, groups=groups)


def conv_transpose2d(
    x: Tensor, w: Tensor, bias=None, *, stride=1, padding=0, output_padding=0, groups=1
) -> Tensor:
    """`[N, I, H, W]`, `[I, O / groups, h, w]` -> `[N, O, ...]`, as `F.conv_transpose2d`."""
    return F.conv_transpose2d(x, w, bias, stride, padding, output_padding, groups)


def conv2d_resample(
    x: Tensor,
    w: Tensor,
    f=None,
    *,
    up: int = 1,
    down: int = 1,
    padding=0,
    groups: int = 1,
    flip_weight: bool = True,
    flip_filter: bool = False,
) -> Tensor:
    """Up-sample by `f`, convolve with `w` `[O, I / groups, h, w]`, down-sample by `f`.

    `padding` is that of the convolution, counted on the up-sampled image. `flip_weight=True` is
    the usual correlation of `conv2d`, False convolves.
    """
    f = IDENTITY if f is None else f
    pads = _padding(padding)
    pads = upsampling_padding(f, up, pads) if up > 1 else pads
    pads = downsampling_padding(f, down, pads) if down > 1 else pads
    x = (
        upfirdn2d(x, f, up=up, padding=pads, flip=flip_filter, gain=up**2)
        if up > 1
        else (F.pad(x, pads))
    )
    x = conv2d(x, w if flip_weight else w.flip(2, 3), groups=groups)
    return upfirdn2d(x, f, down=down, flip=flip_filter) if down > 1 else x
