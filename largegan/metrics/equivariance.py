"""How well moving a generator's input moves its picture: EQ-T, EQ-T_frac and EQ-R.

Karras et al., 2021 (StyleGAN3), section 2 and appendix E. Each is a peak signal-to-noise ratio in
dB between a picture that was moved here, by resampling, and the one that the generator draws when
its input is moved. The operators also return masks of ones `[1, 1, H, W]` where what they return
depends on pixels inside of the image alone. Coordinates are x to the right, y down.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from largegan.errors import ConfigError
from largegan.metrics.side import DrawsMoved, Settings, Side
from largegan.ops import upfirdn2d

LANCZOS = 3  # half-width of resampling windows, in pixels
REACH = 2 * LANCZOS  # of a window convolved with another
UP = 4  # rotated pictures are read from images so many times larger
EXTENT = 64  # ideal filters are computed from so many pixels to each side
PEAK = 2.0  # from -1 to 1

Moved = tuple[Tensor, Tensor]


def shift_integer(x: Tensor, tx: float, ty: float) -> Moved:
    """Moves images by whole pixels: `tx` of the width, `ty` of the height, rounded; zeros enter."""
    height, width = x.shape[2:]
    rows, columns = round(ty * height), round(tx * width)
    places = x.new_ones(1, 1, height, width)
    return tuple(_rolled(image, rows, columns) for image in (x, places))


def _rolled(x: Tensor, rows: int, columns: int) -> Tensor:
    """Shifted down and to the right; what comes in is zero."""
    height, width = x.shape[2:]
    rows, columns = (max(-n, min(n, k)) for n, k in ((height, rows), (width, columns)))
    padded = F.pad(x, [max(columns, 0), max(-columns, 0), max(rows, 0), max(-rows, 0)])
    top, left = max(-rows, 0), max(-columns, 0)
    return padded[:, :, top : top + height, left : left + width]


def shift_fractional(x: Tensor, tx: float, ty: float, *, a: int = LANCZOS) -> Moved:
    """Moves images by `tx` of the width and `ty` of the height, between pixels by Lanczos-`a`."""
    height, width = x.shape[2:]
    mask = x.new_ones(1, 1, height, width)
    for size, part, dim in ((width, tx, 3), (height, ty, 2)):
        whole = math.floor(part * size)
        taps = lanczos_taps(part * size - whole, a)
        x = _shifted(x, taps, whole, dim)
        kept = _shifted(mask, (1.0,) * len(taps), whole, dim)
        mask = (kept == len(taps)).to(mask.dtype)
    return x, mask


def lanczos_taps(fraction: float, a: int) -> tuple[float, ...]:
    """Weights of the pixels -a + 1 ... a around a place `fraction` behind pixel 0, sum 1."""
    t = torch.arange(1 - a, a + 1, dtype=torch.float64, device="cpu") - fraction
    weights = torch.sinc(t) * torch.sinc(t / a)
    return tuple((weights / weights.sum()).tolist())


def _shifted(x: Tensor, taps: tuple[float, ...], whole: int, dim: int) -> Tensor:
    """Convolved with `taps`, whose middle left one stays in place, then moved by `whole` pixels."""
    reach = len(taps) // 2 - 1  # taps before the one that stays
    before, after = reach + 1 + whole, reach - whole
    pads = [0, 0, before, after] if dim == 2 else [before, after, 0, 0]
    fx, fy = ((1.0,), taps) if dim == 2 else (taps, (1.0,))
    return upfirdn2d(x, fx, fy, padding=pads)


def rotation_matrix(angle: float) -> Tensor:
    """`[3, 3]`, counterclockwise as one sees it, for y runs down."""
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, s, 0], [-s, c, 0], [0, 0, 1]], dtype=torch.float64, device="cpu")


def bandlimit_filter(
    matrix: Tensor,
    *,
    up: int,
    a: int = LANCZOS,
    reach: int = REACH,
    cutoff_in: float = 1.0,
    cutoff_out: float = 1.0,
    extent: int = EXTENT,
) -> Tensor:
    """What keeps the frequencies that both an image and the image moved by `matrix` can show.

    The ideal filter is the convolution of two sincs, one along the pixels of the image and one
    along those of the result (so its response is the intersection of a square with a moved one).
    It is windowed by the convolution of the two Lanczos windows and cut `reach` pixels from the
    center: `[2 up reach - 1] * 2` taps, `up` a pixel. Each of the up^2 parts that meet a pixel's
    neighbors sums to 1 / up^2, so that a flat image stays flat.
    """
    count = up * extent - 1
    place = torch.arange(-count, count + 1, dtype=torch.float64, device="cpu") / up
    y, x = torch.meshgrid(place, place, indexing="ij")
    moved_x = matrix[0, 0] * x + matrix[0, 1] * y
    moved_y = matrix[1, 0] * x + matrix[1, 1] * y
    ideal = _convolved(_box(x, y, cutoff_in), _box(moved_x, moved_y, cutoff_out))
    window = _convolved(_window(x, y, a), _window(moved_x, moved_y, a))
    middle, half = 2 * count, up * reach - 1
    inner = slice(middle - half, middle + half + 1)
    taps = (ideal * window)[inner, inner]
    totals = F.pad(taps, (0, 1, 0, 1)).unflatten(0, (-1, up)).unflatten(2, (-1, up)).sum((0, 2))
    return taps / (up**2 * totals.repeat(2 * reach, 2 * reach)[:-1, :-1])


def _box(x: Tensor, y: Tensor, cutoff: float) -> Tensor:
    return torch.sinc(x * cutoff) * torch.sinc(y * cutoff)


def _window(x: Tensor, y: Tensor, a: int) -> Tensor:
    inside = (x.abs() < a) & (y.abs() < a)
    return torch.where(inside, torch.sinc(x / a) * torch.sinc(y / a), 0.0)


def _convolved(f: Tensor, g: Tensor) -> Tensor:
    """The whole convolution of two images of one size."""
    size = [2 * n - 1 for n in f.shape]
    return torch.fft.irfft2(torch.fft.rfft2(f, size) * torch.fft.rfft2(g, size), size)


def move(
    x: Tensor,
    matrix: Tensor,
    *,
    up: int = UP,
    a: int = LANCZOS,
    reach: int = REACH,
    cutoff_in: float = 1.0,
    cutoff_out: float = 1.0,
) -> Moved:
    """Images as `matrix` `[3, 3]` moves them around their center, without aliasing.

    It maps places in pixels; its shifts are fractions of the width and height. The image is
    filtered at `up` times its size and read there bilinearly.
    """
    limits = {"a": a, "reach": reach, "cutoff_in": cutoff_in, "cutoff_out": cutoff_out}
    taps = bandlimit_filter(matrix, up=up, **limits)
    rows, half = tuple(map(tuple, taps.tolist())), len(taps) // 2
    margin = reach * up  # beyond it there is nothing
    large = upfirdn2d(x, rows, up=up, padding=[half + margin] * 4, gain=up**2)
    places = _sources(x.shape[2:], matrix.to(x.device)) * up  # [H, W, 2] from the first pixel on
    size = torch.tensor([large.shape[3], large.shape[2]], device=x.device, dtype=places.dtype)
    grid = (2 * (places + margin) + 1) / size - 1
    grid = grid[None].expand(len(x), -1, -1, -1).to(x.dtype)
    moved = F.grid_sample(large, grid, mode="bilinear", align_corners=False)
    sides = torch.tensor([x.shape[3], x.shape[2]], device=x.device)
    nearest = places.round() / up + 0.5
    inside = ((nearest >= reach) & (nearest < sides - reach)).all(2)
    return moved, inside[None, None].to(x.dtype)


def _sources(size: torch.Size, matrix: Tensor) -> Tensor:
    """`[H, W, 2]`: where (x, y) each pixel of a moved image comes from, in pixels."""
    height, width = size
    x, y = (torch.arange(n, device=matrix.device, dtype=matrix.dtype) for n in (width, height))
    x, y = x - (width - 1) / 2 - matrix[0, 2] * width, y - (height - 1) / 2 - matrix[1, 2] * height
    y, x = torch.meshgrid(y, x, indexing="ij")
    center = torch.tensor([(width - 1) / 2, (height - 1) / 2], device=x.device, dtype=x.dtype)
    return torch.stack([x, y], 2) @ torch.linalg.inv(matrix[:2, :2]).T + center


def rotate(x: Tensor, angle: float, *, a: int = LANCZOS) -> Moved:
    """Images turned by `angle` around their center; `rotation_matrix` says which way."""
    return move(x, rotation_matrix(angle), a=a, reach=2 * a)


def pseudo_rotate(x: Tensor, angle: float, *, a: int = LANCZOS) -> Moved:
    """Images as they are, but for the frequencies that turning back by `angle` would lose.

    Compared with `rotate`d ones, they lack the same corners of the spectrum (appendix E.3).
    """
    taps = bandlimit_filter(rotation_matrix(-angle), up=1, a=a, reach=2 * a)
    half = len(taps) // 2
    found = upfirdn2d(x, tuple(map(tuple, taps.tolist())), padding=half)
    mask = torch.zeros(1, 1, *x.shape[2:], dtype=x.dtype, device=x.device)
    mask[:, :, half : x.shape[2] - half, half : x.shape[3] - half] = 1
    return found, mask


@dataclass
class Ratio:
    """A peak signal-to-noise ratio over all compared pixels of all images."""

    sums: Tensor = field(default_factory=lambda: torch.zeros(2, dtype=torch.float64))

    def add(self, one: Tensor, other: Tensor, mask: Tensor) -> None:
        """Compares `[N, C, H, W]` where `mask` `[1, 1, H, W]` is 1."""
        mask = mask.double().expand(one.shape)
        errors = (one.double() - other.double()).square() * mask
        self.sums += torch.stack([errors.sum(), mask.sum()]).cpu()

    def decibel(self) -> float:
        """nan where nothing could be compared, inf where nothing differs."""
        error, count = self.sums.tolist()
        if count == 0:
            return math.nan
        return 20 * math.log10(PEAK) - 10 * math.log10(error / count) if error else math.inf


Draw = Callable[[Tensor], Tensor]  # a transform [3, 3] of the input -> images, of fixed latents


def input_shift(tx: float, ty: float, height: int, width: int) -> Tensor:
    """The transform that moves a picture by fractions of its width and height.

    Transforms map places of the result to those they are read from, in units of the shorter side:
    so it is the inverse motion.
    """
    short = min(height, width)
    matrix = torch.eye(3, dtype=torch.float64, device="cpu")
    matrix[0, 2], matrix[1, 2] = -tx * width / short, -ty * height / short
    return matrix


def compare_integer(ratio: Ratio, draw: Draw, still: Tensor, tx: float, ty: float) -> None:
    """EQ-T: `still` is what `draw` makes of the identity."""
    height, width = still.shape[2:]
    tx, ty = round(tx * width) / width, round(ty * height) / height
    moved, mask = shift_integer(still, tx, ty)
    ratio.add(draw(input_shift(tx, ty, height, width)), moved, mask)


def compare_fractional(ratio: Ratio, draw: Draw, still: Tensor, tx: float, ty: float) -> None:
    """EQ-T_frac: shifts that end between pixels."""
    moved, mask = shift_fractional(still, tx, ty)
    ratio.add(draw(input_shift(tx, ty, *still.shape[2:])), moved, mask)


def compare_rotated(ratio: Ratio, draw: Draw, still: Tensor, angle: float) -> None:
    """EQ-R: any angle."""
    moved, mask = rotate(still, angle)
    drawn, valid = pseudo_rotate(draw(rotation_matrix(-angle)), angle)
    ratio.add(drawn, moved, mask * valid)


BATCH = 16  # images that are moved alike
LARGEST_SHIFT = 0.125  # of the width and height
LARGEST_ANGLE = math.pi


def eqt(reference: Side, generated: Side, settings: Settings) -> dict[str, float]:
    """EQ-T of all generated images; see the top."""
    return {"eqt": measured("eqt", generated, compare_integer, LARGEST_SHIFT, 2)}


def eqt_frac(reference: Side, generated: Side, settings: Settings) -> dict[str, float]:
    """EQ-T_frac."""
    return {"eqt_frac": measured("eqt_frac", generated, compare_fractional, LARGEST_SHIFT, 2)}


def eqr(reference: Side, generated: Side, settings: Settings) -> dict[str, float]:
    """EQ-R."""
    return {"eqr": measured("eqr", generated, compare_rotated, LARGEST_ANGLE, 1)}


def measured(
    name: str, generated: Side, compare: Callable[..., None], largest: float, count: int
) -> float:
    """dB over all images, each batch moved by `count` uniform numbers up to `largest`.

    Raises `ConfigError` where the input cannot be moved, or nothing could be compared.
    """
    images = generated.images
    if not isinstance(images, DrawsMoved):
        raise ConfigError(
            f"the metric {name} moves a generator's input: give a checkpoint of stylegan3 as the "
            "second set, or leave it out"
        )
    ratio, random = Ratio(), torch.Generator().manual_seed(0)
    for first in range(0, images.count, BATCH):
        last = min(first + BATCH, images.count)
        drawn = (2 * torch.rand(count, generator=random, dtype=torch.float64) - 1) * largest

        def draw(transform: Tensor, first: int = first, last: int = last) -> Tensor:
            return images.moved(first, last, transform)

        compare(ratio, draw, draw(torch.eye(3)), *drawn.tolist())
    found = ratio.decibel()
    if math.isnan(found):
        raise ConfigError(f"the images are too small for the metric {name}: all is margin")
    return found
