"""LAPGAN: a Laplacian pyramid of adversarial networks (Denton et al., 2015, arXiv 1506.05751).

As published: images are halved by means over squares and enlarged linearly with the corners
aligned; the coarsest level has a fully connected GAN, every other level one that makes the detail
missing in the enlarged coarser image, conditioned on it, and on the class where there are some.
Each level trains on real coarse images alone; only sampling runs the whole chain. Here: all levels
train together, each a player of its own; images stay in [-1, 1] (there, each pixel is
standardised); Adam by default, SGD as published with `optimizer: sgd` (lr 0.02; momentum grows);
both networks of a level see the same images; samples come from averaged weights.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn, optim

from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.layers.resize import pyramid_scale
from largegan.losses import minimax_d, non_saturating_g
from largegan.nets.lapgan import (
    CoarseDiscriminator,
    CoarseGenerator,
    ResidualDiscriminator,
    ResidualGenerator,
)
from largegan.ranges import Fraction, Halflife, Images, LearningRate, PositiveWeight, Weight, Width
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Recipe, Terms, adam


@dataclass(frozen=True, kw_only=True)
class LAPGANOptions:
    """Options of `lapgan`."""

    base: Width = 8
    """Pixels of the coarsest level; the image's size is this times a power of two."""
    z_dim: Width = 100
    """Numbers in the latent vector of the coarsest level; every other level has a map of noise."""
    g_width: Width = 1200
    """Units of a hidden layer of the coarsest generator (published: 8000)."""
    d_width: Width = 1600
    """Units of a hidden layer of the coarsest discriminator."""
    channels: Width = 64
    """Width of the convolutions of the other levels."""
    conditional: bool = True
    """Whether classes, where the data have them, enter every network."""
    dropout: Fraction = 0.5
    """Of the discriminators."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """Adam with beta1 0.5, or SGD as published."""
    lr: LearningRate = 2e-4
    """Learning rate of all players (published, for SGD: 0.02)."""
    momentum: Fraction = 0.0
    """Of SGD, at the start (published without classes: 0.5)."""
    momentum_growth: Weight = 0.0008
    """What an epoch adds to it, up to 0.7."""
    lr_decay: PositiveWeight = 1.00004
    """What an epoch divides SGD's learning rate by."""
    epoch_nimg: Images = 50_000
    """Images of an epoch."""
    ema_halflife_nimg: Halflife = 10_000
    """Half-life of the averaged generators, in images."""


def sides_of(data: DataSpec, base: int) -> list[int]:
    """Sides of the levels, the coarsest first; `ConfigError` when `base` does not lead there."""
    size = data.height
    if data.width != size:
        raise ConfigError(f"recipe lapgan needs square images, not {size}x{data.width}")
    sides = [size]
    while sides[-1] > base and sides[-1] % 2 == 0:
        sides.append(sides[-1] // 2)
    if base < 5 or sides[-1] != base:
        raise ConfigError(
            f"images of {size} pixels are not recipe.base {base} doubled a few times; pack the "
            "data at such a size, or set recipe.base (from 5 on) to one that is"
        )
    return sides[::-1]


class Level(nn.Module):
    """One level of the pyramid: a GAN of the detail that the enlarged coarser image lacks.

    `coarser` is the side of the level before; None at the coarsest, whose detail is the image.
    """

    def __init__(
        self,
        size: int,
        coarser: int | None,
        *,
        image_channels: int,
        num_classes: int,
        options: LAPGANOptions,
    ):
        super().__init__()
        self.size, self.coarser, self.num_classes = size, coarser, num_classes
        shape = {"image_channels": image_channels, "num_classes": num_classes}
        g, d = shape.copy(), shape | {"dropout": options.dropout}
        if coarser is None:
            self.noise_shape = (options.z_dim,)
            self.G = CoarseGenerator(size, z_dim=options.z_dim, width=options.g_width, **g)
            self.D = CoarseDiscriminator(size, width=options.d_width, **d)
        else:
            self.noise_shape = (1, size, size)
            self.G = ResidualGenerator(size, channels=options.channels, **g)
            self.D = ResidualDiscriminator(size, channels=options.channels, **d)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)

    def split(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Of images of any size: their detail at this level, and the coarser image enlarged."""
        fine = self.scaled(images)
        if self.coarser is None:
            return fine, None
        coarse = self.scaled(pyramid_scale(fine, (self.coarser, self.coarser)))
        return fine - coarse, coarse

    def scaled(self, images: Tensor) -> Tensor:
        return pyramid_scale(images, (self.size, self.size))

    def noise(self, like: Tensor) -> Tensor:
        return torch.rand(len(like), *self.noise_shape, device=like.device) * 2 - 1

    def labels(self, batch: Batch) -> Tensor | None:
        return batch["label"] if self.num_classes else None

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        (detail, coarse), labels = self.split(batch["image"]), self.labels(batch)
        fake = self.G(self.noise(detail), coarse, labels)
        adv = minimax_d(self.D(detail, coarse, labels), self.D(fake, coarse, labels))
        return {"adv": adv / 2}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        (detail, coarse), labels = self.split(batch["image"]), self.labels(batch)
        fake = self.G(self.noise(detail), coarse, labels)
        return {"adv": non_saturating_g(self.D(fake, coarse, labels))}

    def grow(self, noise: Tensor, image: Tensor | None, labels: Tensor | None) -> Tensor:
        """This level's image `[N, C, size, size]` from the level before, by averaged weights."""
        coarse = None if image is None else self.scaled(image)
        detail = self.G_ema(noise.unflatten(1, self.noise_shape), coarse, labels)
        return detail if coarse is None else coarse + detail


class LAPGAN(Recipe):
    """A Laplacian pyramid of GANs (Denton et al., 2015): players D0, G0 (coarsest), D1, G1, ..."""

    def __init__(self, data: DataSpec, options: LAPGANOptions):
        super().__init__()
        self.options = options
        self.num_classes = data.num_classes if options.conditional else 0
        self.reads = ("image", "label") if self.num_classes else ("image",)
        sides = sides_of(data, options.base)
        shape = {"image_channels": data.channels, "num_classes": self.num_classes}
        self.levels = nn.ModuleList(
            Level(size, coarser, **shape, options=options)
            for size, coarser in zip(sides, [None, *sides], strict=False)
        )
        self.players, self.phases = {}, []
        for i, level in enumerate(self.levels):
            self.players[f"D{i}"] = Player([level.D], self.optimizer(), self.schedule)
            self.players[f"G{i}"] = Player([level.G], self.optimizer(), self.schedule)
            self.phases.append(Phase(f"D{i}", level.discriminator, fresh=i == 0))
            self.phases.append(Phase(f"G{i}", level.generator, fresh=False))

    def optimizer(self) -> partial:
        o = self.options
        return adam(o.lr, 0.5, 0.999) if o.optimizer == "adam" else partial(optim.SGD, lr=o.lr)

    def schedule(self, at: Progress) -> dict[str, float]:
        """Of SGD, in whole epochs. Torch 7 damps by the momentum: v = m v + (1 - m) gradient."""
        o = self.options
        if o.optimizer == "adam":
            return {}
        epoch = at.nimg // o.epoch_nimg
        momentum = min(o.momentum + o.momentum_growth * epoch, 0.7)
        return {"lr": o.lr / o.lr_decay**epoch, "momentum": momentum, "dampening": momentum}

    def after_iteration(self, at: Progress, batch_size: int) -> None:
        for level in self.levels:
            level.G_ema.update(level.G, at, batch_size)

    def noise_sizes(self) -> list[int]:
        return [math.prod(level.noise_shape) for level in self.levels]

    def latent(self, n: int, generator: torch.Generator) -> Tensor:
        """All levels' noise in one vector, the coarsest first."""
        size = sum(self.noise_sizes())
        return torch.rand(n, size, generator=generator, device=generator.device) * 2 - 1

    @torch.no_grad()
    def pyramid(self, z: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """What every level makes of latents, the coarsest first: float32 `[n, C, S, S]` each.

        Without labels the classes take turns.
        """
        if self.num_classes and labels is None:
            labels = torch.arange(len(z), device=z.device) % self.num_classes
        images: list[Tensor] = []
        for level, noise in zip(self.levels, z.split(self.noise_sizes(), 1), strict=True):
            images.append(level.grow(noise, images[-1] if images else None, labels))
        return [image.clamp(-1, 1) for image in images]

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.pyramid(z, labels)[-1]
