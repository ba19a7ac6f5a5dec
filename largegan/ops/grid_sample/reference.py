"""Bilinear reading, corner by corner, and its adjoint, whose sums come in a fixed order."""

from collections.abc import Iterator

import torch
from torch import Tensor

from largegan.ops.constants import constant


def grid_sample(x: Tensor, grid: Tensor) -> Tensor:
    """The specification of `ops.grid_sample`."""
    c, y = x.shape[1], 0
    for index, weight in corners(grid, *x.shape[2:]):
        read = index.flatten(1)[:, None].expand(-1, c, -1)
        pixels = x.flatten(2).gather(2, read).unflatten(2, grid.shape[1:3])
        y = y + pixels * weight[:, None].to(x.dtype)
    return y


def scatter_in_order(dy: Tensor, grid: Tensor, height: int, width: int) -> Tensor:
    """The adjoint: dy `[N, C, h, w]` -> `[N, C, height, width]`; the same bits each time.

    `index_put_` that accumulates sorts its indices on a GPU, so equal ones are added in order.
    """
    n, c = dy.shape[:2]
    places, parts = [], []
    wide = dy.permute(0, 2, 3, 1).to(torch.promote_types(dy.dtype, torch.float32))  # [N, h, w, C]
    images = torch.arange(n, device=dy.device).view(-1, 1, 1) * (height * width)
    for index, weight in corners(grid, height, width):
        places.append((index + images).flatten())
        parts.append((wide * weight[..., None].to(wide.dtype)).flatten(0, 2))
    dx = wide.new_zeros(n * height * width, c)
    dx.index_put_((torch.cat(places),), torch.cat(parts), accumulate=True)
    return dx.view(n, height, width, c).permute(0, 3, 1, 2).to(dy.dtype).contiguous()


def corners(grid: Tensor, h: int, w: int) -> Iterator[tuple[Tensor, Tensor]]:
    """For each of the four pixels around a place: its number in the image, and its weight.

    Both `[N, *, *]`; the weight is 0 outside of the image.
    """
    size = constant((w, h), device=grid.device, dtype=grid.dtype)
    place = ((grid.detach() + 1) * size - 1) / 2  # in pixels, whose centers are whole numbers
    low = place.floor()
    for step in ((0, 0), (0, 1), (1, 0), (1, 1)):
        corner = low + constant(step, device=grid.device, dtype=grid.dtype)
        weight = (1 - (place - corner).abs()).prod(3)
        weight = weight * ((corner >= 0) & (corner < size)).all(3)
        column, row = corner[..., 0].clamp(0, w - 1), corner[..., 1].clamp(0, h - 1)
        yield (row * w + column).long(), weight
