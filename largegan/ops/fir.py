"""Up-sample, filter, down-sample images with a FIR filter: `upfirdn2d` and its usual settings.

    y[o] = gain * sum_k f[k] u[o * down + p0' - k],    u[j * up] = x[j], zero between

in each direction. Taps are Python floats, constants of the graph, never tensors: a tuple for one
direction, or a tuple of rows for a filter that does not separate. Pairs are (x, y), padding is
(left, right, top, bottom) around the up-sampled image, and negative padding crops.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Taps = Sequence[float] | Sequence[Sequence[float]]
BINOMIAL = (0.125, 0.375, 0.375, 0.125)  # [1, 3, 3, 1] / 8, StyleGAN2's filter


def taps(f: Taps, *, gain: float = 1.0, normalize: bool = True, flip: bool = False) -> Taps:
    """Any filter as tuples of floats: sum 1 (`normalize`), times `gain`, reversed if `flip`.

    `gain` is the filter's gain on images: one-dimensional taps, used in both directions, get its
    square root. Taps that sum to zero cannot be normalised and raise ValueError.
    """
    rows = [[float(t) for t in row] for row in f] if _is_2d(f) else [[float(t) for t in f]]
    total = math.fsum(t for row in rows for t in row)
    if normalize and total == 0:
        raise ValueError("taps that sum to zero cannot be normalised: pass normalize=False")
    scale = (gain if _is_2d(f) else gain**0.5) / (total if normalize else 1.0)
    step = -1 if flip else 1
    rows = [tuple(t * scale for t in row[::step]) for row in rows[::step]]
    return tuple(rows) if _is_2d(f) else rows[0]


def upfirdn2d(x, fx, fy=None, *, up=1, down=1, padding=0, flip=False, gain=1.0) -> Tensor:
    """`[N, C, H, W]` -> `[N, C, (H up + top + bottom - taps) // down + 1, ...]`.

    `fx` alone filters both directions; `fx` as rows is a filter of two dimensions. The filter is
    convolved with the image (its taps run backwards); `flip` correlates instead.
    """
    ups, downs, pads = _pair(up), _pair(down), _padding(padding)
    if _is_2d(fx):
        return _dense(x, fx, ups, downs, pads, flip, gain)
    fy = fx if fy is None else fy
    x = _fir(x, fx, 3, ups[0], downs[0], pads[:2], flip, 1.0)
    return _fir(x, fy, 2, ups[1], downs[1], pads[2:], flip, gain)


def filter2d(x: Tensor, f: Taps, *, padding=0, flip: bool = False, gain: float = 1.0) -> Tensor:
    """Blur at the same size; `padding` is added to what keeps the size."""
    (w, h), pads = size_of(f), _padding(padding)
    pads = [pads[0] + w // 2, pads[1] + (w - 1) // 2, pads[2] + h // 2, pads[3] + (h - 1) // 2]
    return upfirdn2d(x, f, padding=pads, flip=flip, gain=gain)


def upsample2d(x: Tensor, f: Taps, factor=2, *, padding=0, flip=False, gain=1.0) -> Tensor:
    """`[N, C, H, W]` -> `[N, C, factor H, factor W]`, with the gain that zero insertion loses."""
    pads, (u, v) = upsampling_padding(f, factor, padding), _pair(factor)
    return upfirdn2d(x, f, up=factor, padding=pads, flip=flip, gain=gain * u * v)


def downsample2d(x: Tensor, f: Taps, factor=2, *, padding=0, flip=False, gain=1.0) -> Tensor:
    """`[N, C, H, W]` -> `[N, C, H / factor, W / factor]`."""
    pads = downsampling_padding(f, factor, padding)
    return upfirdn2d(x, f, down=factor, padding=pads, flip=flip, gain=gain)


def upsampling_padding(f: Taps, factor, padding) -> list[int]:
    """The padding that centres `f` on samples `factor` apart and gives `factor` times the size."""
    (w, h), (u, v), p = size_of(f), _pair(factor), _padding(padding)
    x, y = ((w + u - 1) // 2, (w - u) // 2), ((h + v - 1) // 2, (h - v) // 2)
    return [p[0] + x[0], p[1] + x[1], p[2] + y[0], p[3] + y[1]]


def downsampling_padding(f: Taps, factor, padding) -> list[int]:
    """The padding that centres `f` on blocks of `factor` samples."""
    (w, h), (u, v), p = size_of(f), _pair(factor), _padding(padding)
    x, y = ((w - u + 1) // 2, (w - u) // 2), ((h - v + 1) // 2, (h - v) // 2)
    return [p[0] + x[0], p[1] + x[1], p[2] + y[0], p[3] + y[1]]


def size_of(f: Taps) -> tuple[int, int]:
    """(width, height) of a filter."""
    return (len(f[0]), len(f)) if _is_2d(f) else (len(f), len(f))


def _is_2d(f: Taps) -> bool:
    return isinstance(f[0], Sequence)


def _pair(value) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _padding(value) -> list[int]:
    """An int, (x, y) or (left, right, top, bottom)."""
    if isinstance(value, int):
        return [value] * 4
    return [value[0], value[0], value[1], value[1]] if len(value) == 2 else list(value)


def _fir(x, f, dim, up, down, pads, flip, gain) -> Tensor:
    """One direction. Output o = P m + r reads x at a stride with the same taps for every m."""
    f = [t * gain for t in (f if flip else f[::-1])]  # correlate with these
    size = (x.shape[dim] * up + pads[0] + pads[1] - len(f)) // down + 1
    period = up // math.gcd(up, down)
    stride = down // math.gcd(up, down)
    phases = []
    for r in range(min(period, size)):
        k = (pads[0] - r * down) % up
        start = (r * down + k - pads[0]) // up
        phases.append(_correlate(x, f[k::up], dim, start, stride, -(-(size - r) // period)))
    if len(phases) == 1:
        return phases[0]
    short = phases[0].shape[dim] * len(phases) - size  # phases that are one sample shorter
    phases = [_extend(p, dim, phases[0].shape[dim] - p.shape[dim]) for p in phases]
    y = torch.stack(phases, dim + 1).flatten(dim, dim + 1)
    return y.narrow(dim, 0, size) if short else y


def _correlate(x, f, dim, start, stride, count) -> Tensor:
    """y[m] = sum_j f[j] x[start + m stride + j], x zero outside; `count` outputs."""
    last = start + (count - 1) * stride + len(f)
    before, after = max(-start, 0), max(last - x.shape[dim], 0)
    x = F.pad(x, (before, after) if dim == 3 else (0, 0, before, after))
    y = None
    for j, t in enumerate(f):
        first = start + before + j
        index = [slice(None)] * 4
        index[dim] = slice(first, first + (count - 1) * stride + 1, stride)
        y = x[tuple(index)] * t if y is None else y.add(x[tuple(index)], alpha=t)
    return _extend(x.narrow(dim, 0, 0), dim, count) if y is None else y


def _extend(x: Tensor, dim: int, count: int) -> Tensor:
    return F.pad(x, (0, count) if dim == 3 else (0, 0, 0, count)) if count else x


def _dense(x, rows, ups, downs, pads, flip, gain) -> Tensor:
    """A filter of two dimensions, as the sum of its rows, each of which is separable."""
    y = None
    for i, row in enumerate(rows):
        column = [gain if j == i else 0.0 for j in range(len(rows))]
        part = _fir(x, row, 3, ups[0], downs[0], pads[:2], flip, 1.0)
        part = _fir(part, column, 2, ups[1], downs[1], pads[2:], flip, 1.0)
        y = part if y is None else y + part
    return y
