"""`grid_sample`: bilinear reading of an image at given places."""

import torch.nn.functional as F
from torch import Tensor


def grid_sample(x: Tensor, grid: Tensor) -> Tensor:
    """`[N, C, H, W]` read at `grid` `[N, h, w, 2]` (x, y in [-1, 1]) -> `[N, C, h, w]`.

    Bilinear, zero outside, corners not aligned. The grid is a constant: no gradient goes to it.
    """
    return F.grid_sample(x, grid.detach(), "bilinear", "zeros", align_corners=False)
