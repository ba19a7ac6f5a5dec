"""`upfirdn2d` and its usual settings: up-sample, filter, down-sample images with a FIR filter.

    y[o] = gain * sum_k f[k] u[o * down + p0' - k],    u[j * up] = x[j], zero between

in each direction.
"""

from torch import Tensor

from largegan.ops.fir.filter import (
    BINOMIAL,
    Taps,
    blurring,
    downsampling,
    resampling,
    taps,
    upsampling,
)
from largegan.ops.fir.operators import filtered

__all__ = ["BINOMIAL", "Taps", "downsample2d", "filter2d", "taps", "upfirdn2d", "upsample2d"]


def upfirdn2d(x, fx, fy=None, *, up=1, down=1, padding=0, flip=False, gain=1.0) -> Tensor:
    """Up-sample, filter and down-sample.

    `[N, C, H, W]` -> `[N, C, (H up + top + bottom - taps) // down + 1, ...]`. `fx` alone filters
    both directions; `fx` as rows is a filter of two dimensions. The filter is convolved with the
    image (its taps run backwards); `flip` correlates instead. `up`, `down` and `padding` are one
    number or (x, y), `padding` also (left, right, top, bottom). Raises ValueError where no pixel
    would be left.
    """
    return filtered(x, resampling(fx, fy, up, down, padding, flip, gain))


def filter2d(x: Tensor, f: Taps, *, padding=0, flip: bool = False, gain: float = 1.0) -> Tensor:
    """Blur at the same size; `padding` is added to what keeps the size."""
    return filtered(x, blurring(f, padding, flip, gain))


def upsample2d(x: Tensor, f: Taps, factor=2, *, padding=0, flip=False, gain=1.0) -> Tensor:
    """Enlarge: `[N, C, H, W]` -> `[N, C, factor H, factor W]`.

    `gain` comes on top of the one that makes up for inserted zeros; `padding` is added to what
    centers the filter.
    """
    return filtered(x, upsampling(f, factor, padding, flip, gain))


def downsample2d(x: Tensor, f: Taps, factor=2, *, padding=0, flip=False, gain=1.0) -> Tensor:
    """Shrink: `[N, C, H, W]` -> `[N, C, H / factor, W / factor]`.

    `padding` is added to what centers the filter.
    """
    return filtered(x, downsampling(f, factor, padding, flip, gain))
