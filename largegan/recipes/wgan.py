"""Wasserstein GAN (Arjovsky et al., 2017, arXiv 1701.07875), Algorithm 1.

As published: DCGAN networks (64 pixels, no sigmoid), RMSprop 5e-5, 5 critic steps per generator
step, weights clipped to [-0.01, 0.01] after each, batch 64, Gaussian z of 100. The authors' code
also runs 100 critic steps at the start and every 500 iterations; the algorithm does not, nor does
this file. Here also: samples come from averaged weights.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import optim

from largegan.ema import Ema
from largegan.files.ranges import Depth, LearningRate, PositiveWeight, Width
from largegan.losses import wasserstein_d, wasserstein_g
from largegan.nets.dcgan import Discriminator, Generator
from largegan.recipe import Batch, DataSpec, Player, Progress, Terms
from largegan.recipes.learning_rates import LearningRates
from largegan.recipes.noise_to_image import NoiseToImage, NoiseToImageOptions, square_side
from largegan.recipes.turns import d_then_g


@dataclass(frozen=True, kw_only=True)
class WGANOptions(NoiseToImageOptions, LearningRates):
    """Options of `wgan`."""

    z_dim: Width = 100
    """Numbers in a latent vector, standard normal."""
    channels: Width = 128
    """Width next to the image; it doubles at every halving of the size."""
    norm: Literal["batch", "none"] = "batch"
    """Batch norm, or none, in both networks."""
    n_critic: Depth = 5
    """Critic steps per generator step."""
    clip: PositiveWeight = 0.01
    """The critic's weights stay in [-clip, clip]."""
    lr: LearningRate = 5e-5
    """RMSprop's learning rate, both players."""


class WGAN(NoiseToImage):
    """Wasserstein GAN with weight clipping (Arjovsky et al., 2017)."""

    def __init__(self, data: DataSpec, options: WGANOptions):
        """
        Args:
            data: what the images look like; square, 16, 32, 64, ... pixels.
            options: see `WGANOptions`.
        """
        super().__init__()
        self.z_dim, self.clip = options.z_dim, options.clip
        size = square_side(data, "wgan")
        shape = {"channels": options.channels, "image_channels": data.channels}
        self.G = Generator(size, z_dim=options.z_dim, norm=options.norm, **shape)
        self.D = Discriminator(size, norm=options.norm, **shape)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        g_lr, d_lr = options.rates()
        self.players = {
            "D": Player([self.D], partial(optim.RMSprop, lr=d_lr)),
            "G": Player([self.G], partial(optim.RMSprop, lr=g_lr)),
        }
        self.phases = d_then_g(
            self.critic, self.generator, d_steps=options.n_critic, after=self.clip_weights
        )

    def critic(self, batch: Batch, at: Progress) -> Terms:
        on_real, on_fake = self.D(batch["image"]), self.D(self.fake_for_d(batch))
        self.scored(on_real, on_fake, "relative")
        return {"wasserstein": wasserstein_d(on_real, on_fake)}

    @torch.no_grad()
    def clip_weights(self) -> None:
        for weight in self.D.parameters():
            weight.clamp_(-self.clip, self.clip)

    def generator(self, batch: Batch, at: Progress) -> Terms:
        return {"wasserstein": wasserstein_g(self.D(self.fake(batch)))}
