"""Convolutions whose weights outweigh their maps, on a CPU."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class InRows(nn.Module):
    """Keeps a convolution out of channels-last memory on a CPU.

    There a recipe's weights lie channels-last, as quick convolutions of large maps want it. Where
    the maps are small and the weights many, torch 2.15 reorders the weights at every call: over
    maps of 2 to 16 pixels, 512 channels wide and 4x4, a pass and its gradients take half the time
    in torch's first layout, and two thirds to four fifths when transposed. On a GPU nothing
    changes.
    """

    def _apply(self, fn: Callable[[Any], Any], recurse: bool = True) -> "InRows":
        super()._apply(fn, recurse)
        for p in self.parameters():
            if p.device.type == "cpu":
                p.data = p.data.contiguous()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.contiguous() if x.device.type == "cpu" else x)


class ConvInRows(InRows, nn.Conv2d):
    """`nn.Conv2d` as `InRows` keeps it."""


class ConvTransposeInRows(InRows, nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` as `InRows` keeps it."""
