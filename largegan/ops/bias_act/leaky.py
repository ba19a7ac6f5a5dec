"""`Leaky`: a piecewise-linear activation, as kernels have it."""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

LEAKY = "float alpha, float gain, float clamp"


class Leaky(NamedTuple):
    """A piecewise-linear activation: slope `alpha` >= 0 below zero, `gain` > 0; `clamp` < 0: none.

    alpha 1 is none but the gain.
    """

    alpha: float
    gain: float
    clamp: float

    def __call__(self, x: Tensor) -> Tensor:
        """The activation of x."""
        y = torch.where(x > 0, x, x * self.alpha) * self.gain
        return y.clamp(-self.clamp, self.clamp) if self.clamp >= 0 else y

    def flags(self, x: Tensor) -> Tensor:
        """Where x is, as uint8: 1 below zero, 2 where the activation is clamped, 3 both."""
        bits = (~(x > 0)).to(torch.uint8)
        if self.clamp >= 0:
            y = torch.where(x > 0, x, x * self.alpha) * self.gain
            bits = bits + 2 * (y.abs() >= self.clamp).to(torch.uint8)
        return bits

    def slopes_at(self, flags: Tensor, dtype: torch.dtype) -> Tensor:
        """By what the activation multiplied small changes of its input."""
        return self.slopes((flags & 1).bool(), (flags & 2).bool(), dtype)

    def slopes_of(self, result: Tensor, dtype: torch.dtype) -> Tensor:
        """The same, from the result of the activation."""
        below, clamped = ~(result > 0), result.abs() >= edge(self.clamp, result.dtype)
        return self.slopes(below, clamped, dtype)

    def slopes(self, below: Tensor, clamped: Tensor, dtype: torch.dtype) -> Tensor:
        """The same, from where x is below zero and where the result is clamped."""
        slopes = torch.where(below, self.alpha * self.gain, self.gain).to(dtype)
        return torch.where(clamped, 0, slopes) if self.clamp >= 0 else slopes


@lru_cache(maxsize=64)
def edge(clamp: float, dtype: torch.dtype) -> float:
    """What clamping leaves in memory: 181.02 is 181 in bfloat16."""
    return float(torch.tensor(clamp, dtype=dtype, device="cpu"))
