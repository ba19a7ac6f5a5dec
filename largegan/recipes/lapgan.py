"""LAPGAN: a Laplacian pyramid of adversarial networks (Denton et al., 2015, arXiv 1506.05751).

As published: images are halved by means over squares and enlarged linearly with the corners
aligned; the coarsest level has a fully connected GAN, every other level one that makes the detail
missing in the enlarged coarser image, conditioned on it, and on the class where there are some.
Each level trains on real coarse images alone; only sampling runs the whole chain. Here: all levels
train together, each a player of its own; images stay in [-1, 1] (there, each pixel is
standardized); Adam by default, SGD as published with `optimizer: sgd` (lr 0.02; momentum grows);
both networks of a level see the same images; samples come from averaged weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn, optim

from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.files.ranges import Fraction, Images, LearningRate, PositiveWeight, Weight, Width
from largegan.layers.latents import uniform
from largegan.layers.resize import pyramid_scale
from largegan.losses import minimax_d, non_saturating_g
from largegan.nets.lapgan import (
    CoarseDiscriminator,
    CoarseGenerator,
    Pyramid,
    ResidualDiscriminator,
    ResidualGenerator,
)
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Terms, adam
from largegan.recipes.learning_rates import LearningRates
from largegan.recipes.noise_to_image import NoiseToImage, NoiseToImageOptions


@dataclass(frozen=True, kw_only=True)
class LAPGANOptions(NoiseToImageOptions, LearningRates):
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


class Level:
    """One level of the pyramid: a GAN of the detail that the enlarged coarser image lacks.

    `coarser` is the side of the level before; None at the coarsest, whose detail is the image.
    """

    def __init__(
        self, G: nn.Module, D: nn.Module, noise_shape: tuple, size: int, coarser: int | None
    ):
        self.G, self.D, self.noise_shape = G, D, noise_shape
        self.size, self.coarser = size, coarser
        self.scored: Callable[..., None] = lambda real, fake: None  # the recipe's

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

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        (detail, coarse), labels = self.split(batch["image"]), batch.get("label")
        fake = self.G(self.noise(detail), coarse, labels)
        on_real, on_fake = self.D(detail, coarse, labels), self.D(fake, coarse, labels)
        self.scored(on_real, on_fake)
        return {"adv": minimax_d(on_real, on_fake) / 2}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        (detail, coarse), labels = self.split(batch["image"]), batch.get("label")
        fake = self.G(self.noise(detail), coarse, labels)
        return {"adv": non_saturating_g(self.D(fake, coarse, labels))}


class LAPGAN(NoiseToImage):
    """A Laplacian pyramid of GANs (Denton et al., 2015): players D0, G0 (coarsest), D1, G1, ..."""

    noise = staticmethod(uniform)

    def __init__(self, data: DataSpec, options: LAPGANOptions):
        super().__init__()
        self.options = options
        self.num_classes = data.num_classes if options.conditional else 0
        sides = sides_of(data, options.base)
        shape = {"image_channels": data.channels, "num_classes": self.num_classes}
        self.G = Pyramid(generators(sides, options, shape), sides, z_dim=options.z_dim)
        self.D = nn.ModuleList(discriminators(sides, options, shape))
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.z_dim = self.G.z_dim
        nets = zip(self.G.generators, self.D, self.G.noise_shapes, sides, strict=True)
        self.levels = [Level(*net, None if i == 0 else sides[i - 1]) for i, net in enumerate(nets)]
        self.players, self.phases = {}, []
        for i, level in enumerate(self.levels):
            level.scored = self.scored
            g_lr, d_lr = options.rates()
            self.players[f"D{i}"] = self.player(level.D, d_lr)
            self.players[f"G{i}"] = self.player(level.G, g_lr)
            self.phases.append(Phase(f"D{i}", level.discriminator, fresh=i == 0, others=(f"G{i}",)))
            self.phases.append(Phase(f"G{i}", level.generator, fresh=False, others=(f"D{i}",)))

    def player(self, net: nn.Module, lr: float) -> Player:
        adapts = self.options.optimizer == "adam"
        optimizer = adam(lr, 0.5, 0.999) if adapts else partial(optim.SGD, lr=lr)
        return Player([net], optimizer, partial(self.schedule, lr=lr))

    def schedule(self, at: Progress, lr: float | None = None) -> dict[str, float]:
        """Of SGD, in whole epochs. Torch 7 damps by the momentum: v = m v + (1 - m) gradient."""
        o = self.options
        if o.optimizer == "adam":
            return {}
        epoch = at.nimg // o.epoch_nimg
        momentum = min(o.momentum + o.momentum_growth * epoch, 0.7)
        return {"lr": (lr or o.lr) / o.lr_decay**epoch, "momentum": momentum, "dampening": momentum}

    @torch.no_grad()
    def pyramid(self, z: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """The images of every level, the coarsest first. Without labels the classes take turns."""
        if self.num_classes and labels is None:
            labels = torch.arange(len(z), device=z.device) % self.num_classes
        return [image.clamp(-1, 1) for image in self.G_ema.net.images(z, labels)]


def generators(sides: list[int], o: LAPGANOptions, shape: dict[str, int]) -> list[nn.Module]:
    first = CoarseGenerator(sides[0], z_dim=o.z_dim, width=o.g_width, **shape)
    return [first, *(ResidualGenerator(side, channels=o.channels, **shape) for side in sides[1:])]


def discriminators(sides: list[int], o: LAPGANOptions, shape: dict[str, int]) -> list[nn.Module]:
    shape = shape | {"dropout": o.dropout}
    first = CoarseDiscriminator(sides[0], width=o.d_width, **shape)
    others = (ResidualDiscriminator(side, channels=o.channels, **shape) for side in sides[1:])
    return [first, *others]
