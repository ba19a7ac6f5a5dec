"""Up-sampling, convolution and down-sampling in the cheapest order."""

from torch import Tensor

from largegan.ops.conv import conv2d, conv_transpose2d
from largegan.ops.fir.filter import (
    IDENTITY,
    Filter,
    Taps,
    downsampling_padding,
    four_sides,
    resampling,
    upsampling_padding,
)
from largegan.ops.fir.operators import filtered

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
    """Up-sample by `f`, convolve with `w` `[O, I / groups, h, w]`, down-sample by `f`.

    `padding` is that of the convolution, counted on the up-sampled image. `flip_weight=True` is
    the usual correlation of `conv2d`, False convolves. All three are linear and shift-invariant
    on an image that goes on in zeros, so they are done in the cheapest order.
    """
    f = NONE if f is None else f
    pads = padding_in_front(f, up, down, padding)
    if up > 1:
        first = resampling(f, up=up, padding=pads, flip=flip_filter, gain=up**2)
        x = filtered(*before_up_filter(x, w, first, groups, flip_weight))
        return filtered(x, resampling(f, down=down, flip=flip_filter)) if down > 1 else x
    w = w if flip_weight else w.flip(2, 3)
    if down == 1:
        return _padded_conv2d(x, w, pads, groups)
    if w.shape[2:] == (1, 1):
        x = filtered(x, resampling(f, down=down, padding=pads, flip=flip_filter))
        return conv2d(x, w, groups=groups)
    x = filtered(x, resampling(f, padding=pads, flip=flip_filter))
    return conv2d(x, w, stride=down, groups=groups)


def padding_in_front(f: Taps, up: int, down: int, padding) -> list[int]:
    """The padding of all three together, in front of the first: left, right, top, bottom."""
    pads = four_sides(padding)
    pads = upsampling_padding(f, up, pads) if up > 1 else pads
    return downsampling_padding(f, down, pads) if down > 1 else pads


def conv2d_before_fir(
    x: Tensor, w: Tensor, f: Taps | None, *, up: int, padding, flip_weight: bool
) -> tuple[Tensor, Filter]:
    """`conv2d_resample` up to its filter, and the filter that is left to do."""
    if up == 1:
        return conv2d_resample(x, w, padding=padding, flip_weight=flip_weight), IDENTITY
    f = NONE if f is None else f
    pads = padding_in_front(f, up, 1, padding)
    return before_up_filter(x, w, resampling(f, up=up, padding=pads, gain=up**2), 1, flip_weight)


def before_up_filter(
    x: Tensor, w: Tensor, f: Filter, groups: int, flip_weight: bool
) -> tuple[Tensor, Filter]:
    """Convolution at the low resolution, or a transposed one; what is left to do of `f`."""
    kh, kw = w.shape[2:]
    if kh == kw == 1:
        return conv2d(x, w, groups=groups), f
    w = w.flip(2, 3) if flip_weight else w
    o, i = w.shape[:2]
    w = w.reshape(groups, o // groups, i, kh, kw).transpose(1, 2).flatten(0, 1)
    ux, uy, *_ = f.factors
    y = conv_transpose2d(x, w, stride=(uy, ux), groups=groups)
    # A transposed convolution is a full one, and ends at the last sample instead of before the
    # next: what is left of the padding belongs to the filter.
    left, right, top, bottom = f.pads
    rest = left - kw + 1, right - kw + ux, top - kh + 1, bottom - kh + uy
    return y, f._replace(factors=(1, 1, 1, 1), pads=rest)


def _padded_conv2d(x: Tensor, w: Tensor, pads: list[int], groups: int) -> Tensor:
    if pads[0] == pads[1] >= 0 and pads[2] == pads[3] >= 0:
        return conv2d(x, w, padding=(pads[2], pads[0]), groups=groups)
    return conv2d(filtered(x, resampling(NONE, padding=pads)), w, groups=groups)
