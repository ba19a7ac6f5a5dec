"""Generative Adversarial Nets (Goodfellow et al., 2014, arXiv 1406.2661): the first one.

As published: fully connected networks, k discriminator steps per generator step (Algorithm 1
uses k = 1), uniform noise, SGD with momentum. Here: leaky ReLU instead of maxout, images in
[-1, 1] through tanh instead of [0, 1] through a sigmoid, and Adam, because these train.
"""

from typing import Literal

import torch
from torch import Tensor

from largegan.ema import Ema
from largegan.losses import minimax_d, non_saturating_g, saturating_g
from largegan.nets.mlp import ImageDiscriminator, ImageGenerator
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Recipe, Terms, adam


class GAN(Recipe):
    """Goodfellow et al., 2014, Algorithm 1, with multi-layer perceptrons."""

    def __init__(
        self,
        data: DataSpec,
        *,
        z_dim: int = 64,
        width: int = 256,
        layers: int = 2,
        d_steps: int = 1,
        g_loss: Literal["minimax", "non_saturating"] = "non_saturating",
        lr: float = 2e-4,
        ema_halflife_nimg: float = 10_000,
    ):
        """
        Args:
            data: what the images look like.
            z_dim: numbers in a latent vector, uniform in [-1, 1].
            width: units of a hidden layer.
            layers: hidden layers of each network.
            d_steps: discriminator steps per generator step (the paper's k).
            g_loss: minimise log(1 - D(G(z))) as in Eq. 1, or maximise log D(G(z)) as advised
                below it.
            lr: Adam's learning rate, both players.
            ema_halflife_nimg: half-life of the averaged generator, in images.
        """
        super().__init__()
        self.z_dim, self.g_loss = z_dim, g_loss
        shape = (data.channels, data.height, data.width)
        self.G = ImageGenerator(z_dim, shape, width=width, layers=layers)
        self.D = ImageDiscriminator(shape, width=width, layers=layers)
        self.G_ema = Ema(self.G, halflife_nimg=ema_halflife_nimg)
        self.players = {
            "D": Player([self.D], adam(lr, 0.5, 0.999)),
            "G": Player([self.G], adam(lr, 0.5, 0.999)),
        }
        self.phases = [
            Phase("D", self.discriminator, repeat=d_steps),
            Phase("G", self.generator, fresh=False),
        ]

    def fake(self, like: Tensor) -> Tensor:
        return self.G(torch.rand(len(like), self.z_dim, device=like.device) * 2 - 1)

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        real = batch["image"]
        return {"adv": minimax_d(self.D(real), self.D(self.fake(real)))}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        loss = saturating_g if self.g_loss == "minimax" else non_saturating_g
        return {"adv": loss(self.D(self.fake(batch["image"])))}

    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)

    def latent(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.rand(n, self.z_dim, generator=generator, device=generator.device) * 2 - 1

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.G_ema(z)
