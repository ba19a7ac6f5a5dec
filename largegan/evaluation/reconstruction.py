"""Real images through an encoder and back: codes, and how far what comes back is from them."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from largegan.errors import ConfigError, DataError
from largegan.evaluation.image_sets import ImageSet, open_image_set
from largegan.metrics.translation import psnr
from largegan.recipe import DataSpec, HasEncoder, title_of
from largegan.sampler import Sampler, from_uint8, to_uint8

LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Coded:
    """Some images of a set: their codes `[n, z_dim]` and, in each, the mean squared error `[n]`.

    The error is of pixels in [-1, 1], of what the decoder made rounded to 8 bits.
    """

    first: int
    codes: Tensor
    errors: Tensor
    psnr: Tensor  # [n], in dB


def read_like(path: str, spec: DataSpec, *, count: int | None = None) -> Tensor:
    """All images of a set as uint8 `[N, channels, height, width]`; see `fitted`."""
    images = open_image_set(path, count=count)
    return torch.stack([fitted(image, spec) for image in images.read(0, images.count)])


def fitted(image: Tensor, spec: DataSpec) -> Tensor:
    """uint8 `[C, H, W]` with the channels of `spec`; raises `DataError` for another size."""
    if tuple(image.shape[1:]) != (spec.height, spec.width):
        raise DataError(
            f"an image of {image.shape[1]}x{image.shape[2]} cannot be encoded by a network of "
            f"{spec.height}x{spec.width} pixels; bring it to that size (tools/pack.py does)"
        )
    if image.shape[0] == spec.channels:
        return image
    if spec.channels == 1:
        weights = torch.tensor(LUMA)[:, None, None]
        return (image[:3] * weights).sum(0, keepdim=True).round().to(torch.uint8)
    if image.shape[0] == 1:
        return image.expand(spec.channels, -1, -1)
    raise DataError(f"an image has {image.shape[0]} channels, the network {spec.channels}")


def require_encoder(sampler: Sampler) -> None:
    if not isinstance(sampler.recipe, HasEncoder):
        raise ConfigError(
            f"recipe {type(sampler.recipe).__name__} has no {title_of(HasEncoder)}; images become "
            "codes with ali or bigan"
        )


@torch.no_grad()
def encode_all(sampler: Sampler, images: ImageSet, *, batch: int = 64) -> Iterator[Coded]:
    """Batch by batch. Raises `ConfigError` without an encoder, `DataError` for other sizes."""
    require_encoder(sampler)
    for first in range(0, images.count, batch):
        pixels = images.read(first, min(first + batch, images.count))
        real = from_uint8(torch.stack([fitted(p, sampler.spec) for p in pixels]))
        codes = sampler.recipe.encode(real.to(sampler.device))
        made = from_uint8(to_uint8(sampler.decode(codes, None)).cpu())
        errors = (made - real).square().flatten(1).mean(1)
        yield Coded(first, codes.float().cpu(), errors, psnr(made, real))
