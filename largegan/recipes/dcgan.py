"""Unsupervised representation learning with DCGANs (Radford et al., 2016, arXiv 1511.06434).

As published: transposed convolutions 1024-512-256-128-3 for 64 pixels, batch norm, leaky ReLU 0.2
in the discriminator, weights from N(0, 0.02), z of 100 uniform numbers, Adam 2e-4 with beta1 0.5,
batch 128. Here also: any power-of-two size, and samples come from averaged weights.
"""

from dataclasses import dataclass
from typing import Literal

from largegan.ema import Ema
from largegan.files.ranges import Beta, Depth, LearningRate, Width
from largegan.layers.latents import uniform
from largegan.losses import non_saturating_g
from largegan.nets.dcgan import Discriminator, Generator
from largegan.recipe import Batch, DataSpec, Progress, Terms
from largegan.recipes.handicaps import (
    Handicapped,
    LogisticHandicapOptions,
    smoothed_minimax_d,
)
from largegan.recipes.learning_rates import FallingRates, LearningRates
from largegan.recipes.noise_to_image import square_side
from largegan.recipes.turns import d_then_g


@dataclass(frozen=True, kw_only=True)
class DCGANTraining(LogisticHandicapOptions, LearningRates):
    """Options of how `dcgan` learns, and others like it."""

    d_steps: Depth = 1
    """Discriminator steps per generator step."""
    lr: LearningRate = 2e-4
    """Adam's learning rate, both players."""
    beta1: Beta = 0.5
    """Adam's momentum, both players."""


@dataclass(frozen=True, kw_only=True)
class DCGANOptions(DCGANTraining, FallingRates):
    """Options of `dcgan`."""

    z_dim: Width = 100
    """Numbers in a latent vector, uniform in [-1, 1]."""
    channels: Width = 128
    """Width next to the image; it doubles at every halving of the size."""
    g_channels: Width | None = None
    """That of the generator; null: channels."""
    d_channels: Width | None = None
    """That of the discriminator; null: channels."""
    norm: Literal["batch", "none"] = "batch"
    """Batch norm, or none, in both networks."""
    upsample: Literal["transposed", "nearest"] = "transposed"
    """How the generator doubles sizes; nearest (and 3 x 3) leaves no checkerboard."""


class DCGAN(Handicapped):
    """Deep convolutional GAN (Radford et al., 2016)."""

    noise = staticmethod(uniform)

    def __init__(self, data: DataSpec, options: DCGANOptions):
        """
        Args:
            data: what the images look like; square, 16, 32, 64, ... pixels.
            options: see `DCGANOptions`.
        """
        super().__init__()
        self.z_dim, self.smoothing = options.z_dim, options.label_smoothing
        size = square_side(data, "dcgan")
        g_channels = options.g_channels or options.channels
        d_channels = options.d_channels or options.channels
        shape = {"image_channels": data.channels, "norm": options.norm}
        self.G = Generator(
            size, z_dim=options.z_dim, channels=g_channels, upsample=options.upsample, **shape
        )
        self.D = Discriminator(size, channels=d_channels, **shape)
        self.handicap(options)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.players = options.adams(self.D, [self.G], options.beta1, 0.999)
        self.phases = d_then_g(self.discriminator, self.generator, d_steps=options.d_steps)

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        real = batch["image"]
        fake = self.fake_for_d(batch)
        # Two forwards: batch norm must not mix real and fake images.
        on_real, on_fake = self.told(self.D(self.seen(real, at)), self.D(self.seen(fake, at)))
        return {"adv": smoothed_minimax_d(on_real, on_fake, self.smoothing)}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        return {"adv": non_saturating_g(self.D(self.seen(self.fake(batch), at)))}
