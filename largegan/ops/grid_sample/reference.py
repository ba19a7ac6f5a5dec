"""Bilinear reading, corner by corner."""

import torch
from torch import Tensor


def grid_sample(x: Tensor, grid: Tensor) -> Tensor:
    """The specification of `ops.grid_sample`."""
    c, (h, w) = x.shape[1], x.shape[2:]
    size = torch.tensor([w, h], dtype=grid.dtype, device=grid.device)
    place = ((grid.detach() + 1) * size - 1) / 2  # in pixels, whose centers are whole numbers
    low, y = place.floor(), 0
    for step in ((0, 0), (0, 1), (1, 0), (1, 1)):
        corner = low + torch.tensor(step, dtype=grid.dtype, device=grid.device)
        weight = (1 - (place - corner).abs()).prod(3)  # [N, h, w]
        weight = weight * ((corner >= 0) & (corner < size)).all(3)
        column, row = corner[..., 0].clamp(0, w - 1), corner[..., 1].clamp(0, h - 1)
        index = (row * w + column).long().flatten(1)[:, None].expand(-1, c, -1)
        pixels = x.flatten(2).gather(2, index).unflatten(2, grid.shape[1:3])
        y = y + pixels * weight[:, None].to(x.dtype)
    return y
