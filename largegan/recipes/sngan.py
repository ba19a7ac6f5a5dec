"""Spectral normalization for GANs (Miyato et al., 2018, arXiv 1802.05957), with the projection
discriminator of Miyato & Koyama (2018, arXiv 1802.05637) where the data have classes.

As published for CIFAR-10: ResNets, G 256 and D 128 wide, spectral norm in D only, one power
iteration a forward, hinge loss, 5 discriminator steps, Adam 2e-4, beta (0, 0.9), linearly to 0
over 100,000 iterations, batch 64 (generator: 128). Here: the generator's batch is the
discriminator's, fakes take the labels of the batch's reals (the papers draw them uniformly), any
size from 16 to 512, and samples come from averaged weights. The published decay is
`decay_nimg = 6_400_000`. `architecture: cnn` is the first paper's standard CNN (table 3), a DCGAN
in spirit.
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from largegan.ema import Ema
from largegan.files.ranges import Depth, Width
from largegan.losses import hinge_d, hinge_g
from largegan.nets import deep_conv
from largegan.nets.resnet_sn import (
    Discriminator,
    DiscriminatorOptions,
    Generator,
    GeneratorOptions,
)
from largegan.recipe import Batch, DataSpec, Progress, Terms
from largegan.recipes.handicaps import HandicapOptions, Handicapped
from largegan.recipes.learning_rates import FallingRates
from largegan.recipes.noise_to_image import square_side
from largegan.recipes.turns import d_then_g


@dataclass(frozen=True, kw_only=True)
class SNGANOptions(HandicapOptions, FallingRates):
    """Options of `sngan`."""

    z_dim: Width = 128
    """Numbers in a latent vector, standard normal."""
    architecture: Literal["resnet", "cnn"] = "resnet"
    """Of both networks: ResNets, or the paper's standard CNNs."""
    g_channels: Width = 64
    """Unit of the generator's widths (4 of them at 32 pixels; a CNN: 8 at 4 pixels)."""
    d_channels: Width = 64
    """Unit of the discriminator's widths (2 of them at 32 pixels; a CNN: 1 next to the image)."""
    g_norm: Literal["batch", "none"] = "batch"
    """Batch norm, or none, in the generator."""
    conditional: bool = True
    """Use the classes when the data have them."""
    d_activated_shortcut: bool = False
    """The discriminator's shortcuts see activated features, as in StudioGAN."""
    d_steps: Depth = 5
    """Discriminator steps per generator step."""


class SNGAN(Handicapped):
    """Spectral normalization, ResNet, hinge, projection (Miyato et al., 2018)."""

    reading = "sign"

    def __init__(self, data: DataSpec, options: SNGANOptions):
        """
        Args:
            data: what the images look like; square, 16 to 512 pixels.
            options: see `SNGANOptions`.
        """
        super().__init__()
        self.z_dim = options.z_dim
        self.num_classes = data.num_classes if options.conditional else 0
        size = square_side(data, "sngan")
        shape = {"image_channels": data.channels, "num_classes": self.num_classes}
        make = {"resnet": resnets, "cnn": standard_cnns}[options.architecture]
        self.G, self.D = make(size, options, shape)
        self.handicap(options)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.players = options.adams(self.D, [self.G], 0.0, 0.9)
        self.phases = d_then_g(self.discriminator, self.generator, d_steps=options.d_steps)

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        real, labels = batch["image"], self.labels(batch)
        fake = self.fake_for_d(batch)
        on_real = self.D(self.seen(real, at), labels)
        on_real, on_fake = self.told(on_real, self.D(self.seen(fake, at), labels))
        return {"adv": hinge_d(on_real, on_fake)}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        fake = self.seen(self.fake(batch), at)
        return {"adv": hinge_g(self.D(fake, self.labels(batch)))}


def resnets(size: int, o: SNGANOptions, shape: dict[str, int]) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator."""
    g = GeneratorOptions(z_dim=o.z_dim, channels=o.g_channels, norm=o.g_norm, **shape)
    d = DiscriminatorOptions(
        channels=o.d_channels,
        norm="spectral",
        activated_shortcut=o.d_activated_shortcut,
        **shape,
    )
    return Generator(size, g), Discriminator(size, d)


def standard_cnns(size: int, o: SNGANOptions, shape: dict[str, int]) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator."""
    widths = deep_conv.widths_for(size, o.g_channels)
    judges = deep_conv.widths_for(size, o.d_channels)[::-1]
    return (
        deep_conv.Generator(widths, z_dim=o.z_dim, norm=o.g_norm, **shape),
        deep_conv.Discriminator(judges, norm="spectral", **shape),
    )
