"""`grid_sample`: bilinear reading of an image at given places."""

import torch.nn.functional as F
from torch import Tensor

from largegan.ops.grid_sample import operators
from largegan.ops.runtime import backend

__all__ = ["grid_sample"]


def grid_sample(x: Tensor, grid: Tensor) -> Tensor:
    """Read images at the places of a grid.

    `[N, C, H, W]`, `grid` `[N, h, w, 2]` (x, y in [-1, 1]) -> `[N, C, h, w]`. Bilinear, zero
    outside, corners not aligned. The grid is a constant: no gradient goes to it.
    """
    if backend.plain():
        return F.grid_sample(x, grid.detach(), align_corners=False)
    return operators.gather(x, grid.detach())
