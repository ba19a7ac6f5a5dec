"""Plans for `filtered_lrelu.cu`: an activation between two filters, in one pass."""

from torch import Tensor

from largegan.ops.filtered_lrelu.constants import Sandwich, Size
from largegan.ops.fir.filter import Filter
from largegan.ops.runtime.layout import KINDS, floats
from largegan.ops.runtime.plan import Launch, Plan, defines, pack

COLUMNS, MIDDLE, WARPS = 4, 128, 4  # as filtered_lrelu.cu has them
MOST_TAPS = 8  # for each factor
ENOUGH_TILES = 4096  # of a warp each
LEAST_ROWS = 16  # of a tile, which begins with rows that its neighbor has too


def has_kernel(s: Sandwich, size: Size) -> bool:
    """Whether there is one: taps for one direction, the same factors in both, up and then down.

    `size` is (height, width); a plane of any of the three images has less than 2^31 pixels.
    """
    up, down = s.first.factors[0], s.second.factors[2]
    if (s.first.factors, s.second.factors) != ((up, up, 1, 1), (1, 1, down, down)):
        return False
    return all(_fits(f, factor) for f, factor in ((s.first, up), (s.second, down))) and all(
        height * width < 2**31 for height, width in (size, *s.sizes(size))
    )


def _fits(f: Filter, factor: int) -> bool:
    most = MOST_TAPS * factor
    return factor in (1, 2, 4) and bool(f.fy) and f.size[0] == f.size[1] <= most


def launch_of(
    x: Tensor, s: Sandwich, bias: Tensor | None = None, bits: Tensor | None = None, *, act: bool
) -> Launch:
    """The launch whose result is contiguous.

    With `act` it activates, and writes `bits` if there are any; without it reads them for slopes.
    """
    y = x.new_empty(*x.shape[:2], *s.sizes(x.shape[2:])[1])
    found, reads = plan(x.contiguous(), y, s, bias, bits, act)
    return Launch(found, y, reads)


def plan(x: Tensor, y: Tensor, s: Sandwich, bias, bits, act: bool) -> tuple[Plan, tuple]:
    """(the launch that writes y, what it reads besides). x and y are contiguous."""
    (up, *_), (*_, down) = s.first.factors, s.second.factors
    k1, k2, planes = s.first.size[0], s.second.size[0], x.shape[0] * x.shape[1]
    middle, keep, bias = s.sizes(x.shape[2:])[0], act and bits is not None, floats(bias)
    bits = None if bits is None else bits.contiguous()
    (skip_x, start_x), (skip_y, start_y) = group(s, 0, up), group(s, 2, up)
    height, width = needed(y.shape[2:], middle, down, keep)
    tile_x, tiles_x = tile(width, -(-width // widest(skip_x, k2, down)), down)
    count = min(-(-ENOUGH_TILES // (planes * tiles_x)), height // LEAST_ROWS)
    tile_y, tiles_y = tile(height, max(1, count), down)
    rows, tiles = (2 if up == 4 else 4), planes * tiles_x * tiles_y
    pending = (k2 - 1 + skip_y) // down
    steps = -(-max((tile_y + pending) * down, skip_y + tile_y * down) // (rows * up))
    ints = [x.shape[1], *x.shape[2:], *middle, *y.shape[2:], start_x, start_y, *s.second.pads[::2]]
    share = [tile_x, tile_y, tiles_x, tiles_y, steps]
    numbers = [s.leaky.alpha, s.leaky.clamp, *taps(s)]
    params = pack((x, y, bits, bias), [tiles], [*ints, *share], numbers)
    macros = defines(
        KIND=KINDS[x.dtype], U=up, D=down, K1=k1, K2=k2, SKIP_X=skip_x, SKIP_Y=skip_y, ACT=act,
        KEEP=keep, CLAMP=act and s.leaky.clamp >= 0, PHASE=(-s.second.pads[2] - skip_y) % 4,
    )  # fmt: skip
    across = COLUMNS // up * (32 + -(-(-(-k1 // up) - 1) // (COLUMNS // up)))
    shared = 4 * WARPS * (rows * up // down * MIDDLE + -(-rows * across // 4) * 4)
    grid = (-(-tiles // WARPS), 1, 1)
    return Plan("filtered_lrelu.cu", macros, grid, (32, WARPS, 1), shared, params), (x, bits, bias)


def group(s: Sandwich, i: int, up: int) -> tuple[int, int]:
    """Middle columns (rows) in front of a tile's own, and the sample that the first is made of.

    A tile begins with a group of `up` that are made of the same samples. `i` is a place in pads.
    """
    pad, before = s.first.pads[i], s.second.pads[i]
    skip = (-before - pad - 1) % up
    return skip, (-before - skip - pad - 1) // up + 1


def needed(size, middle, down: int, keep: bool) -> list[int]:
    """(height, width) of the result that tiles must have, so that all bits are some tile's."""
    return [max(n, -(-m // down)) if keep else n for n, m in zip(size, middle, strict=True)]


def taps(s: Sandwich) -> list[float]:
    """Along x and y, of the first filter, with the activation's gain, and of the second."""
    first, k = s.first.taps(), s.first.size[0]
    return [t * s.leaky.gain for t in first[:k]] + first[k:] + s.second.taps()


def widest(skip: int, taps: int, down: int) -> int:
    """Columns of the result of which a warp can have all columns of the middle."""
    whole = COLUMNS // down
    return ((MIDDLE - skip - max(taps, down)) // down + 1) // whole * whole


def tile(n: int, count: int, down: int) -> tuple[int, int]:
    """(size, number) of about so many tiles of n; four rows of the middle are one tile's."""
    whole = COLUMNS // down
    size = -(-n // (count * whole)) * whole
    return size, -(-n // size)
