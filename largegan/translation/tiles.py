"""Rectangles of an image: the tiles that cover it, what each reads, how they blend."""

from typing import NamedTuple

import torch
from torch import Tensor


class Box(NamedTuple):
    """A rectangle of pixels; `bottom` and `right` are exclusive."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    def times(self, scale: int) -> "Box":
        """The same part of the image when it is `scale` times as large."""
        return Box(*(scale * side for side in self))


class Tile(NamedTuple):
    """A part of an image that is translated by itself."""

    core: Box  # what the tile contributes
    read: Box  # what the network is given: the core and its halo, within the image

    def times(self, scale: int) -> "Tile":
        return Tile(self.core.times(scale), self.read.times(scale))


def plan(height: int, width: int, *, tile: int, halo: int) -> list[Tile]:
    """Tiles whose cores cover the image once. `tile` and `halo` are multiples of the network's."""
    tiles = []
    for top, bottom in _cuts(height, tile):
        for left, right in _cuts(width, tile):
            read = Box(
                max(0, top - halo),
                max(0, left - halo),
                min(height, bottom + halo),
                min(width, right + halo),
            )
            tiles.append(Tile(Box(top, left, bottom, right), read))
    return tiles


def _cuts(length: int, tile: int) -> list[tuple[int, int]]:
    return [(start, min(start + tile, length)) for start in range(0, length, tile)]


def inside(tile: Tile) -> tuple[slice, slice]:
    """Rows and columns of the core within what was read."""
    core, read = tile
    rows = slice(core.top - read.top, core.bottom - read.top)
    return rows, slice(core.left - read.left, core.right - read.left)


def fades(length: int, spans: list[tuple[int, int]]) -> list[Tensor]:
    """A weight per pixel of each span; they fall linearly where spans overlap, and add up to 1."""
    place = torch.arange(length, dtype=torch.float32)
    weights = torch.zeros(len(spans), length)
    for i, (start, end) in enumerate(spans):
        from_start = place - start + 0.5 if start > 0 else torch.full_like(place, length)
        to_end = end - place - 0.5 if end < length else torch.full_like(place, length)
        before = spans[i - 1][1] - start if i > 0 else length
        after = end - spans[i + 1][0] if i + 1 < len(spans) else length
        weights[i] = torch.minimum(from_start / before, to_end / after).clamp(0, 1)
    weights /= weights.sum(0)
    return [weights[i, start:end] for i, (start, end) in enumerate(spans)]
