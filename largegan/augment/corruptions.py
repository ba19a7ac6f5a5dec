"""The last transforms of the ADA pipeline: filtering by octaves, noise and cutout.

Karras et al., 2020, "Training Generative Adversarial Networks with Limited Data", appendix B.
They act on every channel, alpha included.
"""

import torch
from torch import Tensor

from largegan import ops
from largegan.augment.draws import Draws
from largegan.augment.geometry import reflect
from largegan.augment.wavelets import SYM2, octave_bands
from largegan.ops.constants import constant

# [0, pi/8], [pi/8, pi/4], [pi/4, pi/2], [pi/2, pi]
BANDS = tuple(map(tuple, octave_bands(SYM2, 3)))
POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)  # of natural images in these bands (1/f)


def image_filter(images: Tensor, draws: Draws, multiplier: float) -> Tensor:
    """Amplifies each octave by a random factor, keeping the power of a natural image."""
    gains = torch.ones(draws.n, len(BANDS), device=draws.device)
    power = constant(POWER, device=draws.device)
    for band in range(len(BANDS)):
        t = torch.ones_like(gains)
        t[:, band] = draws.happens(torch.exp2(draws.normal()), 1, multiplier * draws.p)
        gains = gains * t / (power * t.square()).sum(1, keepdim=True).sqrt()
    taps = gains @ constant(BANDS, device=draws.device)  # [N, taps]
    return _filter(images, taps.to(images.dtype))


def _filter(images: Tensor, taps: Tensor) -> Tensor:
    """`[N, C, H, W]` filtered in both directions by `[N, taps]`, edges reflected."""
    n, c, h, w = images.shape
    side = taps.shape[1] // 2
    kernels = taps.repeat_interleave(c, 0)[:, None]  # [N C, 1, taps]
    x = images.reshape(1, n * c, h, w)
    x = ops.conv2d(reflect(x, side, side, 3), kernels[:, :, None], groups=n * c)
    x = ops.conv2d(reflect(x, side, side, 2), kernels[..., None], groups=n * c)
    return x.reshape(n, c, h, w)


def noise(images: Tensor, draws: Draws, multiplier: float) -> Tensor:
    """Adds white noise whose standard deviation is half-normal, 0.1 on average over sqrt(2/pi)."""
    sigma = draws.happens(draws.normal(1, 1, 1).abs() * 0.1, 0, multiplier * draws.p)
    white = torch.randn(images.shape, device=images.device, dtype=images.dtype)
    return images + white * sigma.to(images.dtype)


def cutout(images: Tensor, draws: Draws, multiplier: float) -> Tensor:
    """Zeros (mid-gray) in a rectangle of half the width and height, centered anywhere."""
    h, w = images.shape[2:]
    size = draws.happens(
        torch.full((draws.n, 1), 0.5, device=draws.device), 0, multiplier * draws.p
    )
    center = draws.uniform(2)
    x = (torch.arange(w, device=draws.device) + 0.5) / w
    y = (torch.arange(h, device=draws.device) + 0.5) / h
    inside_x = (x - center[:, :1]).abs() < size / 2  # [N, W]
    inside_y = (y - center[:, 1:]).abs() < size / 2
    inside = inside_y[:, None, :, None] & inside_x[:, None, None, :]
    return torch.where(inside, torch.zeros((), dtype=images.dtype, device=images.device), images)
