"""Changing size by weighted sums of rows and columns, as super-resolution and pyramids define it.

Each rule is a matrix per side, made in float64; images are differentiated through it as through
any product.
"""

from collections.abc import Callable
from functools import lru_cache, wraps

import torch
from torch import Tensor

from largegan.ops.constants import kept_on_gpu

Rule = Callable[[int, int], Tensor]  # weights of a side, from its length and the one wanted


def imresize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic (a = -1/2), anti-aliased when it reduces, mirrored at the border: MATLAB's imresize.

    The field's way of making low-resolution images; `[N, C, H, W]` -> `[N, C, *size]`. Nothing is
    clamped or rounded. Pillow's bicubic weighs the same, but cuts its window off at the border
    where this mirrors the image; away from it the two agree (tests/layers/test_resize.py).
    """
    return _resized(images, size, bicubic_weights)


def pyramid_scale(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Down by means over the covered interval, up linearly with the corners aligned.

    `image.scale` of Torch 7, with which LAPGAN's pyramids were built; `[N, C, *size]`.
    """
    return _resized(images, size, pyramid_weights)


def _resized(images: Tensor, size: tuple[int, int], weights: Rule) -> Tensor:
    h, w = images.shape[-2:]
    kind = {"dtype": torch.promote_types(images.dtype, torch.float32), "device": images.device}
    # Sixteen bits are too few for weights: this part ignores autocast.
    with torch.autocast(images.device.type, enabled=False):
        x = images.to(kind["dtype"])
        if size[1] != w:
            x = x @ matrix(weights, w, size[1], **kind).mT  # [N, C, H, w']
        if size[0] != h:
            x = matrix(weights, h, size[0], **kind) @ x  # [N, C, h', w']
    return x.to(images.dtype)


@kept_on_gpu
def matrix(
    weights: Rule, source: int, target: int, *, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """`[target, source]` of a rule."""
    return weights(source, target).to(device, dtype)


def cubic(x: Tensor) -> Tensor:
    """Keys' kernel with a = -1/2, zero from 2 on."""
    x = x.abs()
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return torch.where(x <= 1, near, torch.where(x <= 2, far, torch.zeros_like(x)))


def on_cpu(weights: Rule) -> Rule:
    """Kept weights serve everybody, also when a network on `meta` asks for them first."""

    @wraps(weights)
    def computed(source: int, target: int) -> Tensor:
        with torch.device("cpu"):
            return weights(source, target)

    return computed


@lru_cache(maxsize=64)
@on_cpu
def bicubic_weights(source: int, target: int) -> Tensor:
    """float64 `[target, source]`: pixel i of the result is a weighted sum of the source's.

    When it reduces, the kernel is stretched by the factor, so that nothing aliases.
    """
    factor = source / target
    stretch = max(factor, 1.0)
    center = (torch.arange(target, dtype=torch.float64) + 0.5) * factor - 0.5
    reach = int(2 * stretch) + 2
    offsets = torch.arange(-reach, reach + 1)
    places = center.floor().long()[:, None] + offsets  # [target, taps]
    weight = cubic((center[:, None] - places) / stretch)
    weight = weight / weight.sum(1, keepdim=True)
    # Beyond the border lies the mirror image, with the outermost pixel twice: ... 1 0 0 1 ...
    places = places % (2 * source)
    places = torch.minimum(places, 2 * source - 1 - places)
    return torch.zeros(target, source, dtype=torch.float64).scatter_add_(1, places, weight)


@lru_cache(maxsize=64)
@on_cpu
def pyramid_weights(source: int, target: int) -> Tensor:
    """float64 `[target, source]`; see `pyramid_scale`."""
    if target > source:
        position = torch.arange(target, dtype=torch.float64) * (source - 1) / max(target - 1, 1)
        distance = (position[:, None] - torch.arange(source)).abs()
        return (1 - distance).clamp(min=0)
    edges = torch.arange(target + 1, dtype=torch.float64) * source / target
    left, right = edges[:-1, None], edges[1:, None]
    pixel = torch.arange(source, dtype=torch.float64)
    covered = torch.minimum(right, pixel + 1) - torch.maximum(left, pixel)
    return covered.clamp(min=0) * target / source
