"""FIR resampling as its formula says: insert zeros, pad, correlate, keep every down-th result."""

import torch
import torch.nn.functional as F
from torch import Tensor

from largegan.ops.fir.filter import Filter, Taps, blurring, downsampling, resampling, upsampling


def upfirdn2d(x, fx, fy=None, *, up=1, down=1, padding=0, flip=False, gain=1.0) -> Tensor:
    """The specification of `ops.upfirdn2d`."""
    return filtered(x, resampling(fx, fy, up, down, padding, flip, gain))


def filter2d(x: Tensor, f: Taps, *, padding=0, flip: bool = False, gain: float = 1.0) -> Tensor:
    """The specification of `ops.filter2d`."""
    return filtered(x, blurring(f, padding, flip, gain))


def upsample2d(x: Tensor, f: Taps, factor=2, *, padding=0, flip=False, gain=1.0) -> Tensor:
    """The specification of `ops.upsample2d`."""
    return filtered(x, upsampling(f, factor, padding, flip, gain))


def downsample2d(x: Tensor, f: Taps, factor=2, *, padding=0, flip=False, gain=1.0) -> Tensor:
    """The specification of `ops.downsample2d`."""
    return filtered(x, downsampling(f, factor, padding, flip, gain))


def filtered(x: Tensor, f: Filter) -> Tensor:
    """What all four are: `[N, C, H, W]` -> `[N, C, *f.output_size(H, W)]`."""
    (n, c, h, w), (ux, uy, dx, dy) = x.shape, f.factors
    f.output_size(h, w)  # an error where there is none
    u = F.pad(x.reshape(n, c, h, 1, w, 1), (0, ux - 1, 0, 0, 0, uy - 1))
    u = padded(u.reshape(n, c, h * uy, w * ux), f.pads)
    kernel = taps_of(f).to(x).expand(c, 1, -1, -1)
    return F.conv2d(u, kernel, groups=c)[:, :, ::dy, ::dx]


def taps_of(f: Filter) -> Tensor:
    """`[height, width]`, to correlate with."""
    (width, height), taps = f.size, torch.tensor(f.taps(), dtype=torch.float64)
    return taps[width:, None] * taps[:width] if f.fy else taps.reshape(height, width)


def padded(x: Tensor, pads) -> Tensor:
    """Pads first and crops afterwards: `F.pad` refuses to crop more than there is at first."""
    x = F.pad(x, [max(p, 0) for p in pads])
    left, right, top, bottom = [max(-p, 0) for p in pads]
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]
