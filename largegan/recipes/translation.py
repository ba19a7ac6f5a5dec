"""What the recipes that translate images have in common: options, domains, learning rates."""

from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor, nn

from largegan.ema import Ema
from largegan.files.ranges import Depth, Few, Halflife, Images, ImagesOrNone, LearningRate, Width
from largegan.layers.plain_norm import use_own_statistics
from largegan.nets.patchgan import discriminator
from largegan.nets.translators import translator
from largegan.recipe import Batch, DataSpec, Player, Progress, Recipe, adam, linear_decay
from largegan.recipes.learning_rates import LearningRates


@dataclass(frozen=True, kw_only=True)
class TranslationOptions(LearningRates):
    """Options of every such recipe."""

    g_channels: Width = 64
    """Width of a generator's first layer."""
    d_channels: Width = 64
    """Width of a discriminator's first layer."""
    d_layers: Few = 3
    """Halvings in a discriminator; 3 sees 70 x 70 patches, 0 single pixels."""
    norm: Literal["instance", "batch", "none"] = "instance"
    """In all networks."""
    antialias: bool = False
    """Blur filters instead of strides, in discriminators and ResNet generators."""
    antialias_up: bool | None = None
    """The same where a ResNet generator enlarges; null: as `antialias`."""
    statistics: Literal["own", "running"] = "own"
    """What batch norm translates an image by: its own statistics, as published, or the running
    averages of training."""
    dropout: bool = False
    """0.5 in a generator's blocks, or in a U-Net's inner levels."""
    gan_loss: Literal["lsgan", "vanilla", "hinge"] = "lsgan"
    """Least squares, cross entropy or hinge."""
    lr: LearningRate = 2e-4
    """Adam's learning rate, both players."""
    constant_nimg: ImagesOrNone | None = None
    """Images before the learning rate begins to fall; null: it never does."""
    decay_nimg: Images = 100_000
    """Images over which it falls to 0."""
    ema_halflife_nimg: Halflife = 1_000
    """Half-life of an averaged generator, in images."""


@dataclass(frozen=True, kw_only=True)
class ArchitectureOptions(TranslationOptions):
    """Options of recipes that translate with a ResNet or with a U-Net."""

    architecture: Literal["resnet", "unet"] = "resnet"
    """Of a generator."""
    depth: Depth | None = None
    """Residual blocks, or U-Net levels; null: as published for the size."""


class Translation(Recipe):
    """Images of two domains, and players whose learning rates are constant, then fall to 0."""

    reads = ("image_a", "image_b")

    def keep(self, options: TranslationOptions) -> None:
        """Remembers how the learning rate falls."""
        self.g_lr, self.d_lr = options.rates()
        self.constant_nimg, self.decay_nimg = options.constant_nimg, options.decay_nimg

    def schedule(self, lr: float, at: Progress) -> dict[str, float]:
        return linear_decay(lr, at, constant_nimg=self.constant_nimg, decay_nimg=self.decay_nimg)

    def averaged(self, net: nn.Module, options: TranslationOptions) -> Ema:
        """The average of a generator, which translates."""
        if options.statistics == "own":
            use_own_statistics(net)
        return Ema(net, halflife_nimg=options.ema_halflife_nimg)

    def player(self, lr: float, *nets: nn.Module) -> Player:
        return Player(list(nets), adam(lr, 0.5, 0.999), partial(self.schedule, lr))

    def domains(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Images to translate, and images of the domain they shall look like."""
        images = batch["image_a"], batch["image_b"]
        return images if self.directions[0] == "a_to_b" else images[::-1]


def channels_of(data: DataSpec, direction: str) -> tuple[int, int]:
    """The channels of what is translated, and of what it becomes."""
    both = data.channels, data.channels_b
    return both if direction == "a_to_b" else both[::-1]


def build_generator(
    data: DataSpec, source: int, target: int, options: ArchitectureOptions
) -> nn.Module:
    """A generator from `source` channels to `target` channels."""
    return translator(
        options.architecture,
        source,
        target,
        size=min(data.height, data.width),
        channels=options.g_channels,
        depth=options.depth,
        norm=options.norm,
        antialias=options.antialias,
        antialias_up=up(options),
        dropout=options.dropout,
    )


def up(options: TranslationOptions) -> bool:
    """Whether a ResNet generator enlarges by blur filters."""
    return options.antialias if options.antialias_up is None else options.antialias_up


def build_discriminator(data: DataSpec, channels: int, options: TranslationOptions) -> nn.Module:
    """A discriminator of images, or of pairs, with so many channels."""
    return discriminator(
        channels,
        size=min(data.height, data.width),
        channels=options.d_channels,
        layers=options.d_layers,
        norm=options.norm,
        antialias=options.antialias,
    )
