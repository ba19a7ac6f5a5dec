"""Translating a large image in tiles, without seams and without changing its colors.

Instance norm ties every pixel to the whole image, so the tiles of a naive tiling differ in color.
How much it costs to do better is the user's choice (`MODES`):

full       the whole frame at once: the reference.
exact      the same numbers from tiles. The norms are met in order; for each, one pass over the
           tiles collects its mean and variance with those before it frozen. A pass ends at its
           norm, so L norms cost about L/2 times the frame, in the memory of one tile.
thumbnail  statistics of a reduced image, then one pass over tiles: close, at the price of a pass.
           Those of one reduced twice as far tell where they are heading (Richardson, 1911).
tile       every tile its own statistics, blended linearly where they overlap: colors drift.

A tile is read with a halo as wide as the network sees, and its borders are either borders of the
image or cut off afterwards: so all padding happens at real borders only.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from largegan.errors import ConfigError
from largegan.recipe import geometry_of
from largegan.translation.shared_norm import (
    Reached,
    SharedNorm,
    Window,
    order_of_norms,
    share_norms,
    shared_norms,
)
from largegan.translation.tiles import Box, Tile, fades, inside, plan

MODES = ("auto", "full", "thumbnail", "exact", "tile")


Read = Callable[[Box], Tensor]  # float [1, C, h, w] in [-1, 1] on the network's device
Write = Callable[[Box, Tensor], None]  # takes float [1, C, h, w]; the box is one of the output


@dataclass(frozen=True)
class Done:
    """How an image was translated; `drift` says how far a thumbnail's statistics were off."""

    mode: str
    tiles: int
    drift: float | None = None


class Tiler:
    """Runs one translation network over images of any size.

    Args:
        net: `[N, C, H, W]` -> `[N, C', scale H, scale W]`, in evaluation mode. Sides that are not
            multiples of `net.multiple` it pads on the right and below; `net.halo` says how far a
            pixel sees, in pixels of the input; without `net.scale` it is 1.
        channels: C.
        tile: side of a tile without its halo, in pixels.
        thumbnail: longer side of the reduced image of mode thumbnail, in pixels.
        precision: "fp32", or "bf16" to autocast; statistics are taken in float32 at least.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        channels: int = 3,
        tile: int = 512,
        thumbnail: int = 512,
        precision: str = "fp32",
    ):
        self.net, self.channels = net, channels
        self.multiple, self.halo, self.scale = geometry_of(net)
        self.tile = max(1, tile // self.multiple) * self.multiple
        self.thumbnail, self.precision = thumbnail, precision
        self.device = next(net.parameters()).device
        self.shared, self.conductor = share_norms(net)
        self._norms: list[SharedNorm] | None = None

    @property
    def has_norms(self) -> bool:
        return bool(shared_norms(self.shared))

    @property
    def norms(self) -> list[SharedNorm]:
        """In the order of a forward pass; found when first needed."""
        if self._norms is None:
            side = 2 * max(self.multiple, 16)
            probe = torch.zeros(1, self.channels, side, side, device=self.device)
            try:
                self._norms = order_of_norms(self.shared, self.conductor, probe)
            except ValueError as fault:
                raise ConfigError(
                    f"this network cannot be tiled: {fault}; use --norm-stats full"
                ) from fault
        return self._norms

    @torch.no_grad()
    def run(self, mode: str, size: tuple[int, int], read: Read, write: Write) -> Done:
        """Translates an image of `size` (height, width); `mode` is one of MODES but auto.

        Raises `ConfigError` for a network that cannot be tiled.
        """
        height, width = size
        whole = Box(0, 0, height, width)
        if mode == "full" or max(size) <= self.tile:
            write(whole.times(self.scale), self.forward(self.net, read(whole)))
            return Done("full", 1)
        self.check_halo()
        tiles = plan(height, width, tile=self.tile, halo=self.halo)
        if mode == "tile" and self.has_norms:
            self.blend(tiles, size, read, write)
            return Done(mode, len(tiles))
        if mode == "exact":
            self.gather(tiles, read)
        if mode == "thumbnail":
            self.gather_thumbnail(size, read)
        self.paint(tiles, read, write, watching=mode == "thumbnail")
        drift = None
        if mode == "thumbnail":
            drift = max((norm.drift() for norm in self.norms), default=0.0)
        self.forget()
        return Done(mode, len(tiles), drift)

    def check_halo(self) -> None:
        """Refuses networks that see all of the image, or so much that tiles are no help."""
        if self.halo is None:
            raise ConfigError(
                "this network cannot be tiled: it does not say how far it sees; use --norm-stats "
                "full"
            )
        if self.halo > self.tile:
            times = (1 + 2 * self.halo / self.tile) ** 2
            raise ConfigError(
                f"a pixel of this network's output depends on {self.halo} pixels around it, so "
                f"tiles of {self.tile} would cost {times:.0f} times the work; give --tile "
                f"{self.halo} or more, or --norm-stats full"
            )

    def forward(self, net: nn.Module, x: Tensor) -> Tensor:
        """Float32 `[N, C', scale H, scale W]`."""
        cast = nullcontext()
        if self.precision == "bf16":
            cast = torch.autocast(self.device.type, torch.bfloat16)
        with cast:
            return net(x).float()

    def forget(self) -> None:
        for norm in self.norms:
            norm.forget()

    def gather(self, tiles: list[Tile], read: Read) -> None:
        """Statistics of the whole image, norm by norm, each with those before it frozen."""
        self.forget()
        for norm in self.norms:
            self.conductor.gathering = norm
            for tile in tiles:
                self.conductor.window = self.window(tile)
                try:
                    self.forward(self.shared, read(tile.read))
                except Reached:
                    continue
            self.conductor.gathering = None
            norm.freeze()

    def gather_thumbnail(self, size: tuple[int, int], read: Read) -> None:
        """Statistics of the image reduced to `thumbnail` pixels, and what half of that adds."""
        self.forget()
        seen = []
        for side in (self.thumbnail // 2, self.thumbnail):
            small = reduced(size, read, side=max(1, side), multiple=self.multiple)
            self.forward(self.shared, small)
            seen.append([norm.moments for norm in self.norms])
        further = _further(max(size) / self.thumbnail)
        for norm, half in zip(self.norms, seen[0], strict=True):
            norm.freeze()
            norm.extrapolate(half, further)

    def paint(self, tiles: list[Tile], read: Read, write: Write, *, watching: bool) -> None:
        """Every tile with the frozen statistics; the halo is cut off."""
        self.conductor.watching = watching
        for tile in tiles:
            self.conductor.window = self.window(tile)
            out = self.forward(self.shared, read(tile.read))
            tile = tile.times(self.scale)
            rows, columns = inside(tile)
            write(tile.core, out[:, :, rows, columns])
        self.conductor.watching = False

    def blend(self, tiles: list[Tile], size: tuple[int, int], read: Read, write: Write) -> None:
        """Every tile with its own statistics; overlaps are faded linearly, in float32.

        Rows of tiles are summed up one after the other: what the next one reaches is carried on.
        """
        height, width = (self.scale * side for side in size)
        grown = [tile.times(self.scale) for tile in tiles]
        rows = [list(row) for _, row in groupby(grown, key=lambda tile: tile.core.top)]
        reads = iter(tile.read for tile in tiles)
        across = fades(width, [(t.read.left, t.read.right) for t in rows[0]])
        down = fades(height, [(row[0].read.top, row[0].read.bottom) for row in rows])
        carried = torch.zeros(1, 1, 0, width)
        for i, row in enumerate(rows):
            top, bottom = row[0].read.top, row[0].read.bottom
            outs = [self.forward(self.net, read(next(reads))).cpu() for _ in row]
            band = torch.zeros(1, outs[0].shape[1], bottom - top, width)
            band[:, :, : carried.shape[2]] += carried
            for tile, out, fade in zip(row, outs, across, strict=True):
                band[:, :, :, tile.read.left : tile.read.right] += out * down[i][:, None] * fade
            ready = rows[i + 1][0].read.top - top if i + 1 < len(rows) else bottom - top
            write(Box(top, 0, top + ready, width), band[:, :, :ready])
            carried = band[:, :, ready:]

    def window(self, tile: Tile) -> Window:
        """The core as fractions of the tile, whose right and lower side the network pads."""
        core, read = tile
        height = math.ceil(read.height / self.multiple) * self.multiple
        width = math.ceil(read.width / self.multiple) * self.multiple
        return Window(
            (core.top - read.top) / height,
            (core.left - read.left) / width,
            1.0 if core.bottom == read.bottom else (core.bottom - read.top) / height,
            1.0 if core.right == read.right else (core.right - read.left) / width,
        )


def _further(factor: float) -> float:
    """How much of what halving a thumbnail changed is still missing in it, reduced by `factor`.

    If the error grows like factor^p - 1. Of p from 1 to 2, 1.5 did best on photographs
    (`benchmarks/translate.py`).
    """
    return (1 - max(factor, 1.0) ** -1.5) / (2**1.5 - 1)


def reduced(size: tuple[int, int], read: Read, *, side: int, multiple: int) -> Tensor:
    """The image with its longer side at about `side` pixels: `[1, C, h, w]`.

    Whole pixels are averaged band by band, so that the full image is never held in float; the rest
    of the way is bicubic. Sides become multiples of `multiple`: padding would count as content.
    """
    height, width = size
    factor = max(1.0, max(size) / side)
    whole = int(factor)
    bands = []
    step = whole * max(1, 1024 // whole)
    for top in range(0, height, step):
        band = read(Box(top, 0, min(top + step, height), width))
        bands.append(avg_pool2d(band, whole, ceil_mode=True, count_include_pad=False))
    small = torch.cat(bands, 2)
    wanted = [max(multiple, round(length / factor / multiple) * multiple) for length in size]
    return interpolate(small, size=wanted, mode="bicubic", antialias=True).clamp(-1, 1)
