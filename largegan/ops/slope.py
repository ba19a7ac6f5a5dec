"""Where an activation was: its slopes, from its result or from two bits an element.

The bits are 1 (below zero) and 2 (clamped). Four neighbouring channels share a byte, `[N, H, W,
C / 4]`, where kernels read 16 bytes of channels at once; else `[N, C, H, W]`, laid out like the
activation, has a byte for each.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from largegan.ops.plan import vector
from largegan.ops.registering import layout


class Leaky(NamedTuple):
    """A piecewise-linear activation: slope `alpha` >= 0 below zero, `gain` > 0; `clamp` < 0: none.

    alpha 1 is none but the gain.
    """

    alpha: float
    gain: float
    clamp: float

    def __call__(self, x: Tensor) -> Tensor:
        y = torch.where(x > 0, x, x * self.alpha) * self.gain
        return y.clamp(-self.clamp, self.clamp) if self.clamp >= 0 else y

    def flags(self, x: Tensor) -> Tensor:
        """The two bits of the activation of x, not packed."""
        bits = (~(x > 0)).to(torch.uint8)
        if self.clamp >= 0:
            y = torch.where(x > 0, x, x * self.alpha) * self.gain
            bits = bits + 2 * (y.abs() >= self.clamp).to(torch.uint8)
        return bits

    def bits(self, x: Tensor) -> Tensor:
        """Of the activation of x, in the layout of x."""
        bits = self.flags(x).contiguous(memory_format=layout(x))
        if vector(x) == 1:
            return bits
        quads = bits.permute(0, 2, 3, 1).unflatten(3, (-1, 4))  # [N, H, W, C / 4, 4]
        places = torch.tensor([1, 4, 16, 64], dtype=torch.uint8, device=x.device)
        return (quads * places).sum(4, dtype=torch.uint8)

    def slopes(self, kept: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """`shape` `[N, C, H, W]`: by what the activation multiplied small changes of its input."""
        if kept.dtype != torch.uint8:
            below, clamped = ~(kept > 0), kept.abs() >= edge(self.clamp, kept.dtype)
        else:
            bits = _unpacked(kept) if kept.shape != shape else kept
            below, clamped = (bits & 1).bool(), (bits & 2).bool()
        slopes = torch.where(below, self.alpha * self.gain, self.gain).to(dtype)
        return slopes.masked_fill(clamped, 0) if self.clamp >= 0 else slopes


def empty_bits(x: Tensor, shape: torch.Size) -> Tensor:
    """For an activation of `shape` `[N, C, H, W]` in the type and layout of x."""
    n, c, h, w = shape
    if vector(x) > 1:
        return x.new_empty((n, h, w, c // 4), dtype=torch.uint8)
    form = layout(x)
    return torch.empty(shape, dtype=torch.uint8, device=x.device, memory_format=form)


def layout_of(kept: Tensor, shape: torch.Size) -> torch.memory_format:
    """The layout of the activation of `shape` that left this."""
    packed = kept.dtype == torch.uint8 and kept.shape != shape
    return torch.channels_last if packed else layout(kept)


@lru_cache(maxsize=64)
def edge(clamp: float, dtype: torch.dtype) -> float:
    """What clamping leaves in memory: 181.02 is 181 in bfloat16."""
    return float(torch.tensor(clamp, dtype=dtype))


def _unpacked(bits: Tensor) -> Tensor:
    places = torch.tensor([0, 2, 4, 6], dtype=torch.uint8, device=bits.device)
    return (bits[..., None] >> places).flatten(3).permute(0, 3, 1, 2)
