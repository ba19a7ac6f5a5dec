"""Up-sample, filter, down-sample images with a FIR filter: `upfirdn2d` and its usual settings.

    y[o] = gain * sum_k f[k] u[o * down + p0' - k],    u[j * up] = x[j], zero between

in each direction. Taps are Python floats, constants of the graph, never tensors: a tuple for one
direction, or a tuple of rows for a filter that does not separate. Pairs are (x, y), padding is
(left, right, top, bottom) around the up-sampled image, and negative padding crops.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from largegan.ops import fir_kernel
from largegan.ops.filter import Filter, as_filter
from largegan.ops.plan import dense
from largegan.ops.registering import layout

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
    return fir(x, *resampling(fx, fy, up, down, padding, flip, gain).arguments())


def resampling(fx, fy=None, up=1, down=1, padding=0, flip=False, gain=1.0) -> Filter:
    """The arguments of `upfirdn2d`, spelled out."""
    factors, pads = (*_pair(up), *_pair(down)), tuple(_padding(padding))
    if _is_2d(fx):
        rows = tuple(t for row in fx for t in row)
        return Filter(rows, (), (len(fx[0]), len(fx)), factors, pads, flip, gain)
    fy = fx if fy is None else fy
    return Filter(tuple(fx), tuple(fy), (len(fx), len(fy)), factors, pads, flip, gain)


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


@torch.library.custom_op("largegan::fir", mutates_args=())
def fir(
    x: Tensor,
    fx: list[float],
    fy: list[float],
    size: list[int],
    factors: list[int],
    pads: list[int],
    flip: bool,
    gain: float,
) -> Tensor:
    """`upfirdn2d`, everything spelled out.

    `size` is (width, height) of the filter, whose taps are fx times fy, or all rows of it in fx
    when fy is empty; `factors` are up x, up y, down x, down y.
    """
    f = as_filter(fx, fy, size, factors, pads, flip, gain)
    shape = list(f.output_size(*x.shape[2:]))
    if fir_kernel.usable(x, f):
        found = fir_kernel.run(dense(x, layout(x)), f)
        if found is not None:
            return found[0]
    wanted = layout(x)
    if x.shape[1] <= 4 and x.device.type == "cpu":  # depthwise convolutions of few planes are slow
        x = x.contiguous(memory_format=torch.channels_last)
    if fy and size[0] * size[1] > 36:  # long filters go along one direction after the other
        (ux, uy, dx, dy), (kx, ky) = factors, size
        across, along = ((fx, [1.0]), (kx, 1), flip, gain), (([1.0], fy), (1, ky), flip, 1.0)
        x = _filtered(x, across, (ux, 1, dx, 1), [*pads[:2], 0, 0], [x.shape[2], shape[1]])
        y = _filtered(x, along, (1, uy, 1, dy), [0, 0, *pads[2:]], shape)
    else:
        y = _filtered(x, ((fx, fy), tuple(size), flip, gain), factors, pads, shape)
    return y.contiguous(memory_format=wanted)


@fir.register_fake
def _(x, fx, fy, size, factors, pads, flip, gain):
    f = as_filter(fx, fy, size, factors, pads, flip, gain)
    shape = (*x.shape[:2], *f.output_size(*x.shape[2:]))
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout(x))


def _remember(ctx, inputs, output) -> None:
    x, *arguments = inputs
    ctx.filter, ctx.size = as_filter(*arguments), x.shape[2:]


def _adjoint(ctx, dy: Tensor):
    return fir(dy, *ctx.filter.adjoint(*ctx.size).arguments()), *[None] * 7


fir.register_autograd(_adjoint, setup_context=_remember)


def _filtered(x, f, factors, pads, shape) -> Tensor:
    """A depthwise convolution, strided or transposed: neither multiplies inserted zeros."""
    (fx, fy), size, flip, gain = f
    ux, uy, dx, dy = factors
    up = ux * uy > 1
    kernel = _kernel(tuple(fx), tuple(fy), size, flip != up, gain, x.dtype, x.device)
    kernel = kernel.expand(x.shape[1], 1, -1, -1)
    if up:
        return _expanded(x, kernel, (uy, ux), pads, (dy, dx), shape)
    return _reduced(x, kernel, (dy, dx), pads)


@lru_cache(maxsize=256)
def _kernel(fx, fy, size, flip, gain, dtype, device) -> Tensor:
    """`[1, 1, height, width]`, to correlate with. Kept: a copy to a GPU would wait for it."""
    x = torch.tensor(fx, dtype=torch.float64)
    f = (torch.tensor(fy, dtype=torch.float64)[:, None] * x if fy else x).reshape(size[1], size[0])
    f = f if flip else f.flip(0, 1)
    return (f * gain)[None, None].to(device, dtype)


def _reduced(x, kernel, stride, pads) -> Tensor:
    left, right, top, bottom = pads
    if left == right >= 0 and top == bottom >= 0:
        return F.conv2d(x, kernel, stride=stride, padding=(top, left), groups=x.shape[1])
    return F.conv2d(_padded(x, pads), kernel, stride=stride, groups=x.shape[1])


def _expanded(x, kernel, stride, pads, down, shape) -> Tensor:
    """A transposed convolution computes a full one; `crop` is what is outside the wanted part."""
    crop = []
    for i in (1, 0):  # x, y
        n, u, k, size = x.shape[2 + i], stride[i], kernel.shape[2 + i], (shape[i] - 1) * down[i] + 1
        first = k - 1 - pads[2 * (1 - i)]
        crop += [first, (n - 1) * u + k - first - size]
    inner = [max(min(crop[2:]), 0), max(min(crop[:2]), 0)]  # what both sides have: y, x
    y = F.conv_transpose2d(x, kernel, stride=stride, padding=inner, groups=x.shape[1])
    rest = [inner[1] - crop[0], inner[1] - crop[1], inner[0] - crop[2], inner[0] - crop[3]]
    y = _padded(y, rest) if any(rest) else y
    return y[:, :, :: down[0], :: down[1]]


def _padded(x: Tensor, pads) -> Tensor:
    """Pads, then crops: at once, `F.pad` refuses to crop more than there is at first."""
    x = F.pad(x, [max(p, 0) for p in pads])
    left, right, top, bottom = [max(-p, 0) for p in pads]
    return x[:, :, top : x.shape[2] - bottom, left : x.shape[3] - right]
