"""A blur that takes details from what a discriminator sees while training is young."""

import math

from torch import Tensor

from largegan import ops


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """`[N, C, H, W]` filtered by 2^-(d / sigma)^2 up to 3 sigma, d in pixels; zeros outside.

    As StyleGAN3's code has it: the half-width at half height is sigma. 0 leaves images as they
    are.
    """
    radius = math.floor(3 * sigma)
    if radius < 1:
        return images
    weights = [2 ** -((k / sigma) ** 2) for k in range(-radius, radius + 1)]
    return ops.filter2d(images, ops.taps(weights))


def fading(start: float, nimg: float, fade_nimg: float) -> float:
    """`start`, linearly to 0 after `fade_nimg` images; 0 throughout where that is 0."""
    return start * max(1 - nimg / fade_nimg, 0) if fade_nimg else 0.0
