"""FIR resampling in PyTorch's operations, without inserting zeros: a depthwise convolution.

What the operators compute where there is no kernel, and what exporters see. Training does not
use its gradients.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from largegan.ops.fir.filter import Filter
from largegan.ops.runtime import choice
from largegan.ops.runtime.layout import layout

MOST_AT_ONCE = 36  # taps; longer filters go along one direction after the other


def filtered(x: Tensor, f: Filter) -> Tensor:
    """`f` of x, laid out as x is."""
    wanted = layout(x)
    if x.shape[1] <= 4 and x.device.type == "cpu":  # depthwise convolutions of few planes are slow
        x = x.contiguous(memory_format=torch.channels_last)
    f.output_size(*x.shape[2:])  # an error where there is none
    for part in _directions(f) if f.fy and f.size[0] * f.size[1] > MOST_AT_ONCE else (f,):
        x = _one_pass(x, part)
    return x.contiguous(memory_format=wanted)


def _directions(f: Filter) -> tuple[Filter, Filter]:
    """The filter along x, which has the gain, and the filter along y."""
    (ux, uy, dx, dy), (left, right, top, bottom), one = f.factors, f.pads, (1.0,)
    across = Filter(f.fx, one, (f.size[0], 1), (ux, 1, dx, 1), (left, right, 0, 0), f.flip, f.gain)
    along = Filter(one, f.fy, (1, f.size[1]), (1, uy, 1, dy), (0, 0, top, bottom), f.flip, 1.0)
    return across, along


def _one_pass(x: Tensor, f: Filter) -> Tensor:
    """A depthwise convolution, strided or transposed: neither multiplies inserted zeros."""
    ux, uy, dx, dy = f.factors
    up = ux * uy > 1
    of = _kernel if choice.plain() else _kept_kernel  # a graph's constants are that graph's
    kernel = of(f.fx, f.fy, f.size, f.flip != up, f.gain, x.dtype, x.device)
    kernel = kernel.expand(x.shape[1], 1, -1, -1)
    if up:
        return _expanded(x, kernel, (uy, ux), f.pads, (dy, dx), f.output_size(*x.shape[2:]))
    return _reduced(x, kernel, (dy, dx), f.pads)


def _kernel(fx, fy, size, flip, gain, dtype, device) -> Tensor:
    """`[1, 1, height, width]`, to correlate with."""
    x = torch.tensor(fx, dtype=torch.float64)
    f = (torch.tensor(fy, dtype=torch.float64)[:, None] * x if fy else x).reshape(size[1], size[0])
    f = f if flip else f.flip(0, 1)
    return (f * gain)[None, None].to(device, dtype)


_kept_kernel = lru_cache(maxsize=256)(_kernel)  # a copy to a GPU would wait for it


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
