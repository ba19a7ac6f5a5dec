"""Pixel blitting and geometric transforms of the ADA pipeline: one warp for all seven.

Each transform is a 3x3 matrix on centered pixel coordinates (x right, y down). Their product maps
every pixel of the result to its place in the image, which is read after a 2x up-sampling, so that
the result is free of aliasing (Karras et al., 2020, "Training Generative Adversarial Networks with
Limited Data", appendix B, Fig. 9).
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from largegan import ops
from largegan.augment.draws import Draws
from largegan.augment.wavelets import SYM6
from largegan.ops.constants import constant

WAVELET = ops.taps(SYM6)
REACH = len(WAVELET) // 2  # pixels of the image that one pixel of the result needs around it
MARGIN = REACH // 2  # the same for the way back, from the up-sampled result

CORNERS = ((-1.0, -1), (1, -1), (1, 1), (-1, 1))

BLIT = ("xflip", "rotate90", "xint")
GEOM = ("scale", "rotate", "aniso", "xfrac")


def transform(
    images: Tensor, draws: Draws, multipliers: Mapping[str, float], *, waits: bool = True
) -> Tensor:
    """`[N, C, H, W]` -> the same shape, every image moved in its own way; `waits` as `warp`."""
    if not any(multipliers.get(name) for name in BLIT + GEOM):
        return images
    return warp(images, placement(draws, multipliers, *images.shape[2:]), waits=waits)


def placement(draws: Draws, multipliers: Mapping[str, float], h: int, w: int) -> Tensor:
    """`[N, 3, 3]`: from a pixel of the result to its place in the image.

    The paper multiplies its transforms from the left; this is the inverse of that product, so
    their inverses are multiplied from the right.
    """
    m = torch.eye(3, device=draws.device).expand(draws.n, 3, 3)
    size = constant((w, h), device=draws.device)
    for name, inverse in STEPS:
        if multipliers.get(name):
            m = m @ inverse(draws, multipliers[name] * draws.p, size)
    return m


def _xflip(draws: Draws, p: Tensor, size: Tensor) -> Tensor:
    flip = draws.happens(torch.floor(draws.uniform() * 2), 0, p)
    return scaling(1 - 2 * flip, torch.ones_like(flip))


def _rotate90(draws: Draws, p: Tensor, size: Tensor) -> Tensor:
    quarters = draws.happens(torch.floor(draws.uniform() * 4), 0, p)
    return rotation(math.pi / 2 * quarters)


def _xint(draws: Draws, p: Tensor, size: Tensor) -> Tensor:
    shift = draws.happens((draws.uniform(2) * 2 - 1) * 0.125, 0, p)
    return translation(-torch.round(shift * size))


def _scale(draws: Draws, p: Tensor, size: Tensor) -> Tensor:
    s = draws.happens(torch.exp2(draws.normal() * 0.2), 1, p)
    return scaling(1 / s, 1 / s)


def _rotate(draws: Draws, p: Tensor, size: Tensor) -> Tensor:
    # Two rotations, around `aniso`: each happens half-independently, so that either does with p.
    either = 1 - torch.sqrt(1 - p.clamp(max=1))
    theta = draws.happens((draws.uniform() * 2 - 1) * math.pi, 0, either)
    return rotation(theta)


def _aniso(draws: Draws, p: Tensor, size: Tensor) -> Tensor:
    s = draws.happens(torch.exp2(draws.normal() * 0.2), 1, p)
    return scaling(1 / s, s)


def _rotate_again(draws: Draws, p: Tensor, size: Tensor) -> Tensor:
    if draws.quantile is not None:  # as in the published quantile mode
        return torch.eye(3, device=draws.device)
    return _rotate(draws, p, size)


def _xfrac(draws: Draws, p: Tensor, size: Tensor) -> Tensor:
    return translation(-draws.happens(draws.normal(2) * 0.125, 0, p) * size)


STEPS = (
    ("xflip", _xflip),
    ("rotate90", _rotate90),
    ("xint", _xint),
    ("scale", _scale),
    ("rotate", _rotate),
    ("aniso", _aniso),
    ("rotate", _rotate_again),
    ("xfrac", _xfrac),
)


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """`[N]`, `[N]` -> `[N, 3, 3]`."""
    return torch.diag_embed(torch.stack([x, y, torch.ones_like(x)], 1))


def rotation(theta: Tensor) -> Tensor:
    """`[N]` -> `[N, 3, 3]`, from x towards y."""
    c, s, zero = torch.cos(theta), torch.sin(theta), torch.zeros_like(theta)
    rows = [c, -s, zero, s, c, zero, zero, zero, torch.ones_like(theta)]
    return torch.stack(rows, 1).reshape(-1, 3, 3)


def translation(shift: Tensor) -> Tensor:
    """`[N, 2]` -> `[N, 3, 3]`."""
    m = torch.eye(3, device=shift.device).repeat(len(shift), 1, 1)
    m[:, :2, 2] = shift
    return m


def warp(images: Tensor, m: Tensor, *, waits: bool = True) -> Tensor:
    """Reads each pixel of the result at its place `m` `[N, 3, 3]` in the image, edges reflected.

    It waits to know how far outside they lie, or else reflects the whole image on every side: the
    same but for rounding, and up to nine times the pixels.
    """
    h, w = images.shape[2:]
    left, top, right, bottom = margins(m, h, w) if waits else (w - 1, h - 1, w - 1, h - 1)
    images = reflect(reflect(images, left, right, 3), top, bottom, 2)
    images = ops.upsample2d(images, WAVELET)
    # In the up-sampled image pixel i of the padded one lies at 2 i: the wavelet is centered on a
    # tap, not between two.
    x, y = (torch.arange(2 * (n + 2 * MARGIN), device=m.device) / 2 - MARGIN for n in (w, h))
    y, x = torch.meshgrid(y - (h - 1) / 2, x - (w - 1) / 2, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], -1).flatten(0, 1) @ m[:, :2].mT
    numbers = torch.tensor if waits else constant  # margins of a batch are those of no other
    origin = numbers(((w - 1) / 2 + left, (h - 1) / 2 + top), device=m.device)
    size = numbers((images.shape[3], images.shape[2]), device=m.device)
    grid = (4 * (places + origin) + 1) / size - 1  # [N, pixels, 2], in [-1, 1]
    images = ops.grid_sample(images, grid.reshape(len(m), *x.shape, 2).to(images.dtype))
    return ops.downsample2d(images, WAVELET, padding=-REACH, flip=True)


def margins(m: Tensor, h: int, w: int) -> list[int]:
    """How far the batch reads outside its images: left, top, right, bottom.

    A reflection shows an image once more, so the margins end at its size less one; what lies
    farther out is zero.
    """
    corner = constant(((w - 1) / 2, (h - 1) / 2), device=m.device)
    signs = constant(CORNERS, device=m.device)
    corners = torch.cat([signs * corner, torch.ones_like(signs[:, :1])], 1)  # [4, 3]
    reached = (corners @ m[:, :2].mT).flatten(0, 1)  # [4 N, 2]
    beyond = torch.cat([-reached.amin(0), reached.amax(0)]) - corner.repeat(2) + REACH
    most = constant((w - 1, h - 1), device=m.device).repeat(2)
    return beyond.clamp(min=0).minimum(most).ceil().int().tolist()


def reflect(x: Tensor, before: int, after: int, dim: int) -> Tensor:
    """Mirrors `x` at its edge pixels, over and over where the margin is wider than the image."""
    n = x.shape[dim]
    i = torch.arange(-before, n + after, device=x.device).abs() % max(2 * n - 2, 1)
    return x.index_select(dim, torch.minimum(i, 2 * n - 2 - i))
