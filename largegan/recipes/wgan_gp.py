"""Improved training of Wasserstein GANs (Gulrajani et al., 2017, arXiv 1704.00028), Algorithm 1.

As published for CIFAR-10: ResNets, 128 wide, batch norm in the generator and nothing in the
critic; Adam 2e-4, beta (0, 0.9), linearly to 0 over 100,000 iterations; 5 critic steps, lambda
10, batch 64 (generator: 128). Here: the generator's batch is the critic's, images are not
dequantized, there is no class-conditional variant, any size from 16 to 512, and samples come from
averaged weights. The published decay is `decay_nimg = 6_400_000`.
"""

from dataclasses import dataclass
from typing import Literal

from largegan.ema import Ema
from largegan.files.ranges import Depth, Weight, Width
from largegan.losses import wasserstein_d, wasserstein_g
from largegan.nets.resnet_sn import (
    Discriminator,
    DiscriminatorOptions,
    Generator,
    GeneratorOptions,
)
from largegan.recipe import Batch, DataSpec, Progress, Terms
from largegan.recipes.gradient_penalty import GradientPenaltyOptions, two_sided
from largegan.recipes.learning_rates import FallingRates
from largegan.recipes.noise_to_image import NoiseToImage, NoiseToImageOptions, square_side
from largegan.recipes.turns import d_then_g


@dataclass(frozen=True, kw_only=True)
class WGANGPOptions(NoiseToImageOptions, GradientPenaltyOptions, FallingRates):
    """Options of `wgan_gp`."""

    z_dim: Width = 128
    """Numbers in a latent vector, standard normal."""
    g_channels: Width = 32
    """Unit of the generator's widths (4 of them at 32 pixels)."""
    d_channels: Width = 64
    """Unit of the critic's widths (2 of them at 32 pixels)."""
    g_norm: Literal["batch", "none"] = "batch"
    """Batch norm, or none, in the generator."""
    n_critic: Depth = 5
    """Critic steps per generator step."""
    gp: Weight = 10.0
    """Weight of the gradient penalty (the paper's lambda)."""


class WGANGP(NoiseToImage):
    """Wasserstein GAN with gradient penalty (Gulrajani et al., 2017)."""

    def __init__(self, data: DataSpec, options: WGANGPOptions):
        """
        Args:
            data: what the images look like; square, 16 to 512 pixels.
            options: see `WGANGPOptions`.
        """
        super().__init__()
        self.z_dim, self.gp = options.z_dim, options.gp
        self.penalty = options.penalty
        size, colors = square_side(data, "wgan_gp"), data.channels
        g = GeneratorOptions(
            z_dim=options.z_dim,
            channels=options.g_channels,
            image_channels=colors,
            norm=options.g_norm,
        )
        d = DiscriminatorOptions(
            channels=options.d_channels, image_channels=colors, norm="none", pool="mean"
        )
        self.G, self.D = Generator(size, g), Discriminator(size, d)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.players = options.adams(self.D, [self.G], 0.0, 0.9)
        self.phases = d_then_g(
            self.critic, self.generator, d_steps=options.n_critic, second_order=options.second_order
        )

    def critic(self, batch: Batch, at: Progress) -> Terms:
        real, fake = batch["image"], self.fake_for_d(batch)
        on_real, on_fake = self.D(real), self.D(fake)
        self.scored(on_real, on_fake, "relative")
        return {
            "wasserstein": wasserstein_d(on_real, on_fake),
            "gp": self.gp * two_sided(self.D, real, fake, self.penalty),
        }

    def generator(self, batch: Batch, at: Progress) -> Terms:
        return {"wasserstein": wasserstein_g(self.D(self.fake(batch)))}
