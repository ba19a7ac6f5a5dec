"""Real images through an encoder and back: codes, and how far what comes back is from them."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from largegan.evaluation.image_sets import open_image_set
from largegan.evaluation.scores import ImageSet
from largegan.metrics.reconstruction import squared_errors
from largegan.sampler import Sampler, fitted


@dataclass(frozen=True)
class Coded:
    """Some images of a set, from number `first` on: codes `[n, z_dim]` and errors `[n]`.

    An error is the mean square over an image's pixels in [-1, 1], rounded to 8 bits.
    """

    first: int
    codes: Tensor
    errors: Tensor


def read_like(path: str, sampler: Sampler, *, count: int | None = None) -> Tensor:
    """All images of a set as uint8 `[N, channels, height, width]`, as the sampler has them."""
    images = open_image_set(path, count=count)
    return torch.stack([fitted(image, sampler.spec) for image in images.read(0, images.count)])


def encode_all(sampler: Sampler, images: ImageSet, *, batch: int = 64) -> Iterator[Coded]:
    """Batch by batch. Raises `ConfigError` without an encoder, `DataError` for other sizes."""
    for first in range(0, images.count, batch):
        pixels = images.read(first, min(first + batch, images.count))
        codes = sampler.encoded(pixels)
        made = sampler.images(codes, [None] * len(codes))
        real = torch.stack([fitted(image, sampler.spec) for image in pixels])
        yield Coded(first, codes, squared_errors(made, real))
