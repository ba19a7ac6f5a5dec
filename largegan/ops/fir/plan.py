"""Plans for `fir.cu`: FIR resampling with what stands before and behind it."""

from typing import NamedTuple

import torch
from torch import Tensor

from largegan.ops.fir.filter import Filter
from largegan.ops.runtime.layout import KINDS, is_planes, vector
from largegan.ops.runtime.plan import LARGEST_GRID, Launch, Plan, block, defines, pack

MOST_TAPS = 64  # in a direction
UNROLLED_TAPS = 8
MOST_REPEAT = 8  # tiles of a block, where sums are wanted
ENOUGH_BLOCKS = 1024


class Before:
    """What fir.cu does to samples as it reads them."""

    BIAS, ACT, CLAMP, KEEP, BITS, RESULT, SCALE, SUMS = (1 << i for i in range(8))


class After:
    """What fir.cu does to its results before it writes them."""

    SCALE, NOISE, BIAS, ACT, CLAMP, KEEP, BITS, RESULT, SUMS = (1 << i for i in range(9))


class Extras(NamedTuple):
    """What stands around a filter; `result` and `bits` are those of an activation.

    `scale` `[N, C]`, `noise` `[1 or N, 1, H, W]`, `strength` of one number, `bias` `[C]`: float32
    without gaps.
    """

    result: Tensor | None = None
    bits: Tensor | None = None
    scale: Tensor | None = None
    noise: Tensor | None = None
    strength: Tensor | None = None
    bias: Tensor | None = None
    alpha: float = 1.0
    gain: float = 1.0
    clamp: float = -1.0


class Sums(NamedTuple):
    """Partial sums of blocks over pixels: of a gradient, for a scale, and for noise's strength."""

    bias: Tensor  # [chunks, N, C]
    scale: Tensor  # [chunks, N, C]
    noise: Tensor  # [chunks, N, C / VECTOR]

    def totals(self) -> tuple[Tensor, Tensor, Tensor]:
        """`[C]`, `[N, C]`, one number: always added in the same order."""
        return self.bias.sum([0, 1]), self.scale.sum(0), self.noise.sum()


def has_kernel(f: Filter) -> bool:
    """Whether fir.cu can be compiled for a filter."""
    (kx, ky), separable = f.size, bool(f.fy)
    factors = all(factor in (1, 2, 4) for factor in f.factors)
    return factors and max(kx, ky) <= MOST_TAPS and (separable or kx * ky <= 256)


def launch_of(
    x: Tensor, f: Filter, before: int = 0, after: int = 0, extras: Extras | None = None
) -> Launch:
    """The launch on a dense x; its result has the layout of x, its `sums` are `Sums`."""
    h, w = f.output_size(*x.shape[2:])
    form = torch.contiguous_format if is_planes(x) else torch.channels_last
    y = torch.empty((*x.shape[:2], h, w), dtype=x.dtype, device=x.device, memory_format=form)
    extras = extras or Extras()
    found, sums = plan(x, y, f, before, after, extras)
    return Launch(found, y, (x, extras), sums)


def plan(
    x: Tensor, y: Tensor, f: Filter, before: int, after: int, extras: Extras
) -> tuple[Plan, Sums | None]:
    """The launch that writes y, and where it leaves sums. x and y are dense and laid out alike."""
    (ux, uy, dx, dy), summed = f.factors, bool(before & Before.SUMS or after & After.SUMS)
    sx, sy = strip_pixels(f, summed or bool(before & Before.RESULT))
    owns = bool(before & (Before.KEEP | Before.SUMS))
    first_x, count_x = strips(x.shape[3], y.shape[3], sx, dx, ux, f.pads[0], owns)
    first_y, count_y = strips(x.shape[2], y.shape[2], sy, dy, uy, f.pads[2], owns)
    planes, v = is_planes(x), vector(x)
    images = x.shape[0] * x.shape[1] if planes else x.shape[0]
    vectors = 1 if planes else x.shape[1] // v
    threads = block(vectors, count_x * count_y)
    tile_x = tile(threads[1], count_x, planes)
    tiles_x, tiles_y = -(-count_x // tile_x), -(-count_y // (threads[1] // tile_x))
    columns = -(-vectors // threads[0])
    repeat = min(MOST_REPEAT, tiles_x * tiles_y * columns * images // ENOUGH_BLOCKS)
    repeat = max(1, repeat) if summed else 1
    grid = (-(-tiles_x * tiles_y // repeat), columns, min(images, LARGEST_GRID))
    buffer, sums = _buffer(x, grid[0], v) if summed else (None, None)
    noise = extras.noise
    share = (first_x, first_y, count_x, count_y, tile_x, tiles_x, repeat)
    params = pack(
        (x, y, *extras[:6], buffer),
        [0 if noise is None or noise.shape[0] == 1 else noise.stride(0)],
        [images, *x.shape[1:], *y.shape[2:], f.pads[0] // ux, f.pads[2] // uy, *share],
        [extras.alpha, extras.gain, extras.clamp, *f.taps()],
    )
    macros = defines(
        KIND=KINDS[x.dtype], VECTOR=v, PLANES=planes, UX=ux, UY=uy, DX=dx, DY=dy, KX=f.size[0],
        KY=f.size[1], SEPARABLE=bool(f.fy), PHASE_X=f.pads[0] % ux, PHASE_Y=f.pads[2] % uy, SX=sx,
        SY=sy, UNROLL=max(f.size) <= UNROLLED_TAPS, BEFORE=before, AFTER=after,
        WIDE=max(x[0].numel(), y[0].numel()) >= 2**31,
    )  # fmt: skip
    shared = 4 * (2 * v + 1) * threads[0] * threads[1] if summed else 0
    return Plan("fir.cu", macros, grid, threads, shared, params), sums


def strip_pixels(f: Filter, narrow: bool) -> tuple[int, int]:
    """Pixels (x, y) of a thread's strip: as many as registers hold, beginning at one phase.

    `narrow`: sums, or a second image to read, need registers too.
    """
    (ux, uy, dx, dy), one = f.factors, max(f.size) == 1
    x, y = (2 if dx > 1 or (narrow and not one) else 4), (1 if one else 2)
    while x * dx % ux:
        x += 1
    while y * dy % uy:
        y += 1
    return x, y


def strips(n: int, outputs: int, s: int, d: int, u: int, pad: int, owns: bool) -> tuple[int, int]:
    """(first strip, how many) along a direction of n samples; strip 0 begins at output 0.

    With `owns` every sample has a strip that it belongs to, be there outputs that read it or not.
    """
    last = -(-outputs // s) - 1
    if not owns:
        return 0, last + 1
    phase, chunk = pad % u, s * d // u  # as fir.cu has them
    low = min((j * d + (phase - j * d) % u - phase) // u for j in range(s))
    begin = pad // u - low  # strip i owns samples i chunk - begin ... (i + 1) chunk - begin - 1
    first = min(0, begin // chunk)
    return first, max(last, -(-(n + begin) // chunk) - 1) - first + 1


def tile(threads: int, count_x: int, planes: bool) -> int:
    """Strips side by side in a block; square tiles read the fewest samples more than once."""
    x = 1
    while x < count_x and (x * x < threads or (planes and x < 32)) and 2 * x <= threads:
        x *= 2
    return x


def _buffer(x: Tensor, chunks: int, v: int) -> tuple[Tensor, Sums]:
    n, c = x.shape[:2]
    size, shape = chunks * n * c, (chunks, n, c)
    buffer = torch.empty(2 * size + size // v, dtype=torch.float32, device=x.device)
    parts = buffer[:size].view(shape), buffer[size : 2 * size].view(shape)
    return buffer, Sums(*parts, buffer[2 * size :].view(chunks, n, c // v))
