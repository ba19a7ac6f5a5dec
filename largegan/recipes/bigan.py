"""BiGAN: adversarial feature learning (Donahue et al., 2017, arXiv 1605.09782).

As published for MNIST: perceptrons of 1024 units, a deterministic encoder, a discriminator of
(x, E(x)) and (G(z), z), z of 50 uniform numbers, Adam 2e-4 with beta1 0.5 and weight decay 2.5e-5,
batch 128. It differs from `ali` in all three networks: the encoder draws nothing, z joins inside
the discriminator's trunk, nothing is convolved. Here: images in [-1, 1] through tanh, a constant
learning rate, the discriminator steps first; samples and codes come from averaged weights.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, optim

from largegan.ema import Ema
from largegan.files.ranges import LearningRate, Weight, Width
from largegan.layers.cond_norm import frozen_statistics
from largegan.layers.latents import uniform
from largegan.losses import minimax_d
from largegan.nets.bigan import BiGANGenerator, Trunk
from largegan.recipe import Batch, DataSpec, Player, Progress, Terms
from largegan.recipes.encoder import WithEncoder
from largegan.recipes.learning_rates import LearningRates
from largegan.recipes.noise_to_image import NoiseToImageOptions
from largegan.recipes.turns import d_then_g


@dataclass(frozen=True, kw_only=True)
class BiGANOptions(NoiseToImageOptions, LearningRates):
    """Options of `bigan`."""

    z_dim: Width = 50
    """Numbers in a latent vector, uniform in [-1, 1]."""
    width: Width = 1024
    """Units of the hidden layers."""
    norm: Literal["batch", "none"] = "batch"
    """Batch norm, or none, in generator and encoder."""
    d_norm: Literal["batch", "none"] = "batch"
    """Batch norm, or none, in the discriminator."""
    lr: LearningRate = 2e-4
    """Adam's learning rate, both players."""
    weight_decay: Weight = 2.5e-5
    """L2 penalty on all weights."""


class BiGAN(WithEncoder):
    """Bidirectional GAN (Donahue et al., 2017), with perceptrons."""

    noise = staticmethod(uniform)

    def __init__(self, data: DataSpec, options: BiGANOptions):
        super().__init__()
        self.z_dim = options.z_dim
        shape = (data.channels, data.height, data.width)
        layers = {"width": options.width, "norm": options.norm}
        self.G = BiGANGenerator(options.z_dim, shape, **layers)
        self.E = Trunk(shape, options.z_dim, **layers)
        layers["norm"] = options.d_norm
        self.D = Trunk(shape, 1, z_dim=options.z_dim, **layers)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.E_ema = Ema(self.E, halflife_nimg=options.ema_halflife_nimg)
        learner = partial(optim.Adam, betas=(0.5, 0.999), weight_decay=options.weight_decay)
        g_lr, d_lr = options.rates()
        self.players = {
            "D": Player([self.D], partial(learner, lr=d_lr)),
            "G": Player([self.G, self.E], partial(learner, lr=g_lr)),
        }
        self.phases = d_then_g(self.discriminator, self.generator)

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """D's logits `[N, 1]` of real images with their codes, and of made images with theirs."""
        z = self.noise(len(images), self.z_dim, device=images.device)
        code, made = self.E(images), self.G(z)
        # Two forwards: batch norm must not mix real and fake images.
        return self.D(images, code), self.D(made, z)

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        with frozen_statistics(self.G), frozen_statistics(self.E):
            on_data, on_made = self.logits(batch["image"])
        self.scored(on_data, on_made)
        return {"adv": minimax_d(on_data, on_made) / 2}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        on_data, on_made = self.logits(batch["image"])
        return {"adv": minimax_d(on_made, on_data) / 2}

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        return self.E_ema(images)
