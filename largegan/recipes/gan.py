"""Generative Adversarial Nets (Goodfellow et al., 2014, arXiv 1406.2661): the first one.

As published: fully connected networks, k discriminator steps per generator step (Algorithm 1
uses k = 1), uniform noise, SGD with momentum. Here: leaky ReLU instead of maxout, images in
[-1, 1] through tanh instead of [0, 1] through a sigmoid, and Adam, because these train.
"""

from dataclasses import dataclass
from typing import Literal

from largegan.ema import Ema
from largegan.layers.latents import uniform
from largegan.losses import minimax_d, non_saturating_g, saturating_g
from largegan.nets.mlp import ImageDiscriminator, ImageGenerator
from largegan.ranges import Depth, LearningRate, Width
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Terms, adam
from largegan.recipes.noise_to_image import NoiseToImage, NoiseToImageOptions


@dataclass(frozen=True, kw_only=True)
class GANOptions(NoiseToImageOptions):
    """Options of `gan`."""

    z_dim: Width = 64
    """Numbers in a latent vector, uniform in [-1, 1]."""
    width: Width = 256
    """Units of a hidden layer."""
    layers: Depth = 2
    """Hidden layers of each network."""
    d_steps: Depth = 1
    """Discriminator steps per generator step (the paper's k)."""
    g_loss: Literal["minimax", "non_saturating"] = "non_saturating"
    """Minimise log(1 - D(G(z))) as in Eq. 1, or maximise log D(G(z)) as advised below it."""
    lr: LearningRate = 2e-4
    """Adam's learning rate, both players."""


class GAN(NoiseToImage):
    """Goodfellow et al., 2014, Algorithm 1, with multi-layer perceptrons."""

    noise = staticmethod(uniform)

    def __init__(self, data: DataSpec, options: GANOptions):
        """
        Args:
            data: what the images look like.
            options: see `GANOptions`.
        """
        super().__init__()
        self.z_dim, self.g_loss = options.z_dim, options.g_loss
        shape = (data.channels, data.height, data.width)
        self.G = ImageGenerator(options.z_dim, shape, width=options.width, layers=options.layers)
        self.D = ImageDiscriminator(shape, width=options.width, layers=options.layers)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.players = {
            "D": Player([self.D], adam(options.lr, 0.5, 0.999)),
            "G": Player([self.G], adam(options.lr, 0.5, 0.999)),
        }
        self.phases = [
            Phase("D", self.discriminator, repeat=options.d_steps),
            Phase("G", self.generator, fresh=False),
        ]

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        real = batch["image"]
        return {"adv": minimax_d(self.D(real), self.D(self.fake(batch)))}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        loss = saturating_g if self.g_loss == "minimax" else non_saturating_g
        return {"adv": loss(self.D(self.fake(batch)))}
