"""Generative Adversarial Nets (Goodfellow et al., 2014, arXiv 1406.2661): the first one.

As published: fully connected networks, k discriminator steps per generator step (Algorithm 1
uses k = 1), uniform noise, SGD with momentum. Here: leaky ReLU instead of maxout, images in
[-1, 1] through tanh instead of [0, 1] through a sigmoid, and Adam, because these train.
"""

from dataclasses import dataclass
from typing import Literal

from largegan.ema import Ema
from largegan.files.ranges import Depth, LearningRate, Width
from largegan.layers.latents import uniform
from largegan.losses import non_saturating_g, saturating_g
from largegan.nets.mlp import ImageDiscriminator, ImageGenerator
from largegan.recipe import Batch, DataSpec, Progress, Terms
from largegan.recipes.handicaps import (
    Handicapped,
    LogisticHandicapOptions,
    smoothed_minimax_d,
)
from largegan.recipes.learning_rates import LearningRates
from largegan.recipes.turns import d_then_g


@dataclass(frozen=True, kw_only=True)
class GANOptions(LogisticHandicapOptions, LearningRates):
    """Options of `gan`."""

    z_dim: Width = 64
    """Numbers in a latent vector, uniform in [-1, 1]."""
    width: Width = 256
    """Units of a hidden layer."""
    g_width: Width | None = None
    """Those of the generator; null: width."""
    d_width: Width | None = None
    """Those of the discriminator; null: width."""
    layers: Depth = 2
    """Hidden layers of each network."""
    d_steps: Depth = 1
    """Discriminator steps per generator step (the paper's k)."""
    g_loss: Literal["minimax", "non_saturating"] = "non_saturating"
    """Minimize log(1 - D(G(z))) as in Eq. 1, or maximize log D(G(z)) as advised below it."""
    lr: LearningRate = 2e-4
    """Adam's learning rate, both players."""


class GAN(Handicapped):
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
        self.smoothing = options.label_smoothing
        shape = (data.channels, data.height, data.width)
        g_width, d_width = options.g_width or options.width, options.d_width or options.width
        self.G = ImageGenerator(options.z_dim, shape, width=g_width, layers=options.layers)
        self.D = ImageDiscriminator(shape, width=d_width, layers=options.layers)
        self.handicap(options)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.players = options.adams(self.D, [self.G], 0.5, 0.999)
        self.phases = d_then_g(self.discriminator, self.generator, d_steps=options.d_steps)

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        on_real = self.D(self.seen(batch["image"], at))
        on_real, on_fake = self.told(on_real, self.D(self.seen(self.fake(batch), at)))
        return {"adv": smoothed_minimax_d(on_real, on_fake, self.smoothing)}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        loss = saturating_g if self.g_loss == "minimax" else non_saturating_g
        return {"adv": loss(self.D(self.seen(self.fake(batch), at)))}
