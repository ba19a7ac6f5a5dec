"""Pixels between networks and people."""

import torch
from torch import Tensor

from largegan.errors import DataError
from largegan.recipe import DataSpec

LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]  # ITU-R BT.601


def to_uint8(images: Tensor) -> Tensor:
    """float `[N, C, H, W]` in [-1, 1] -> uint8, rounded and clamped."""
    return (images.float() * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)


def from_uint8(images: Tensor) -> Tensor:
    """uint8 `[N, C, H, W]` -> float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def fitted(image: Tensor, spec: DataSpec) -> Tensor:
    """uint8 `[C, H, W]` with the channels of `spec`; raises `DataError` for another size."""
    if tuple(image.shape[1:]) != (spec.height, spec.width):
        raise DataError(
            f"an image of {image.shape[1]}x{image.shape[2]} cannot be encoded by a network of "
            f"{spec.height}x{spec.width} pixels; bring it to that size (largegan pack does)"
        )
    if image.shape[0] == spec.channels:
        return image
    if spec.channels == 1:
        return (image[:3] * LUMA).sum(0, keepdim=True).round().to(torch.uint8)
    if image.shape[0] == 1:
        return image.expand(spec.channels, -1, -1)
    raise DataError(f"an image has {image.shape[0]} channels, the network {spec.channels}")
