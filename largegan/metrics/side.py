"""One of the two sets that a metric compares: what is known of its images."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from largegan.errors import ConfigError
from largegan.metrics.moments import Chunks, Gaussian
from largegan.metrics.resize import as_rgb, device_resize


class Images(Protocol):
    """Images by number; see `evaluation.image_kinds`."""

    @property
    def count(self) -> int:
        """How many images."""

    def read(self, first: int, last: int) -> list[Tensor]:
        """Images `first` to `last` - 1, uint8 `[C, H, W]`."""


@runtime_checkable
class MovesInput(Protocol):
    """Images whose generator's input can be moved."""

    def moved(self, first: int, last: int, transform: Tensor) -> Tensor:
        """float `[N, C, H, W]`, not clamped, of an input moved by `transform` `[3, 3]`."""


@runtime_checkable
class Reconstructs(Protocol):
    """Images of a network that has an encoder, too."""

    def reconstructed(self, images: list[Tensor]) -> Tensor:
        """uint8 `[N, C, H, W]` of real images through the encoder and back."""


@dataclass
class Side:
    """Moments always; what else a metric's row asks for, where it could be had.

    `about` goes into the protocol. `features` are `[n, d]`, `logits` `[n, classes]` of the feature
    network's classifier, `labels` the class of every image.
    """

    gaussian: Gaussian
    about: dict[str, Any]
    chunks: Chunks | None = None
    features: Tensor | None = None
    logits: Tensor | None = None
    labels: list[int] | None = None
    images: Images | None = None


@dataclass(frozen=True)
class Settings:
    """What a person may choose about metrics.

    `neighbors` is k of precision and recall; `most`, how many images of either side they look at.
    """

    neighbors: int = 5
    most: int = 10_000


def both_features(reference: Side, generated: Side, metric: str) -> tuple[Tensor, Tensor]:
    """Features `[n, d]` and `[m, d]`. Raises `ConfigError` where a side has moments only."""
    if reference.features is None or generated.features is None:
        raise ConfigError(
            f"{metric} compares images one by one, and a file of means and covariances has none; "
            "give the images, or leave it out of --metrics"
        )
    return reference.features, generated.features


def both_labels(reference: Side, generated: Side, what: str) -> tuple[list[int], list[int]]:
    """The class of every image. Raises `ConfigError` where a side has none."""
    if reference.labels is None or generated.labels is None:
        raise ConfigError(
            f"{what} needs images with classes on both sides: sub-folders that are classes, "
            "labeled shards, or a class-conditional checkpoint"
        )
    return reference.labels, generated.labels


def small_images(images: Images, size: int) -> Tensor:
    """uint8 `[N, 3, size, size]`: all of a set, in memory."""
    found = torch.empty(images.count, 3, size, size, dtype=torch.uint8)
    for first in range(0, images.count, 64):
        for i, image in enumerate(images.read(first, min(first + 64, images.count)), first):
            found[i] = device_resize(as_rgb(image[None]), (size, size))[0].round()
    return found
