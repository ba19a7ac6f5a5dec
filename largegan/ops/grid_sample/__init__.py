"""`grid_sample`: bilinear reading of an image at given places."""

from torch import Tensor

from largegan.ops.grid_sample import operators

__all__ = ["grid_sample"]


def grid_sample(x: Tensor, grid: Tensor) -> Tensor:
    """Read images at the places of a grid.

    `[N, C, H, W]`, `grid` `[N, h, w, 2]` (x, y in [-1, 1]) -> `[N, C, h, w]`. Bilinear, zero
    outside, corners not aligned. The grid is a constant: no gradient goes to it.
    """
    return operators.gather(x, grid.detach())
