"""Changing size without aliasing (Zhang, 2019, arXiv 1904.11486), and making any size fit."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BlurDown(nn.Module):
    """Blur by [1, 2, 1] / 4 both ways, keep every second pixel: sides become ceil(side / 2).

    Borders are reflected. Two means of 2 x 2 pixels are that filter, and need no weights.
    """

    def forward(self, x: Tensor) -> Tensor:
        x = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 2, stride=1)
        return F.avg_pool2d(x, 2, stride=2)


class BlurUp(nn.Module):
    """Twice the size, by the filter [1, 3, 3, 1] / 4 both ways: bilinear interpolation."""

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def pad_to_multiple(x: Tensor, multiple: int, *, least: int = 0) -> Tensor:
    """`[N, C, H, W]` continued below and to the right by its mirror image until sides divide.

    Sides become multiples of `multiple` and at least `least` (itself a multiple). Any amount can
    be added, also more than the image has. The caller crops the result: `y[..., :H, :W]`.
    """
    h, w = x.shape[-2:]
    height = max(h + -h % multiple, least)
    width = max(w + -w % multiple, least)
    if height > h:
        x = x.index_select(-2, _mirrored(h, height, x.device))
    if width > w:
        x = x.index_select(-1, _mirrored(w, width, x.device))
    return x


def _mirrored(size: int, target: int, device: torch.device) -> Tensor:
    """0, 1, ..., size - 1, size - 2, ..., 1, 0, 1, ...: `target` indices."""
    period = max(2 * size - 2, 1)
    index = torch.arange(target, device=device) % period
    return torch.minimum(index, period - index)
