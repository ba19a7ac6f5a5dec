"""What recipes have in common that make images from noise with one generator."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from largegan.errors import ConfigError
from largegan.files.ranges import Halflife, Width
from largegan.layers.cond_norm import frozen_statistics
from largegan.layers.latents import normal
from largegan.recipe import Batch, DataSpec, Progress, Recipe, by_averages_alone


@dataclass(frozen=True, kw_only=True)
class NoiseToImageOptions:
    """Options of every such recipe."""

    z_dim: Width = 128
    """Numbers in a latent vector."""
    ema_halflife_nimg: Halflife = 10_000
    """Half-life of the averaged generator, in images."""


class NoiseToImage(Recipe):
    """One generator `G(z)` or `G(z, labels)`, and its average `G_ema`, which draws samples.

    A subclass builds both, sets `z_dim` (and `num_classes` where the networks know classes), and
    says in `noise` how latents are distributed.
    """

    z_dim: int
    noise: Callable[..., Tensor] = staticmethod(normal)

    def labels(self, batch: Batch) -> Tensor | None:
        return batch["label"] if self.num_classes else None

    def fake(self, batch: Batch) -> Tensor:
        """As many images as the batch has, of the same classes."""
        real, labels = batch["image"], self.labels(batch)
        z = self.noise(len(real), self.z_dim, device=real.device)
        return self.G(z) if labels is None else self.G(z, labels)

    def fake_for_d(self, batch: Batch) -> Tensor:
        """As `fake`; the generator's running statistics follow its own steps only."""
        with frozen_statistics(self.G):
            return self.fake(batch)

    def real_then_fake(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Real images and `fake_for_d`'s, one after the other `[2 N, ...]`, and their classes."""
        labels = self.labels(batch)
        images = torch.cat([batch["image"], self.fake_for_d(batch)])
        return images, None if labels is None else torch.cat([labels, labels])

    @by_averages_alone
    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)

    def latent(self, n: int, generator: torch.Generator) -> Tensor:
        return self.noise(n, self.z_dim, generator=generator, device=generator.device)

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images for `z`; without labels the classes take turns."""
        if not self.num_classes:
            return self.G_ema(z)
        if labels is None:
            labels = torch.arange(len(z), device=z.device) % self.num_classes
        return self.G_ema(z, labels)


def square_side(data: DataSpec, recipe: str) -> int:
    """The side of square images in pixels. Raises `ConfigError` for others."""
    if data.height != data.width:
        raise ConfigError(f"recipe {recipe} needs square images, not {data.height}x{data.width}")
    return data.height
