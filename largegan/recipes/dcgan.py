"""Unsupervised representation learning with DCGANs (Radford et al., 2016, arXiv 1511.06434).

As published: transposed convolutions 1024-512-256-128-3 for 64 pixels, batch norm, leaky ReLU 0.2
in the discriminator, weights from N(0, 0.02), z of 100 uniform numbers, Adam 2e-4 with beta1 0.5,
batch 128. Here also: any power-of-two size, and samples come from averaged weights.
"""

from typing import Literal

import torch
from torch import Tensor

from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.layers.cond_norm import frozen_statistics
from largegan.losses import minimax_d, non_saturating_g
from largegan.nets.dcgan import Discriminator, Generator
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Recipe, Terms, adam


class DCGAN(Recipe):
    """Deep convolutional GAN (Radford et al., 2016)."""

    def __init__(
        self,
        data: DataSpec,
        *,
        z_dim: int = 100,
        channels: int = 128,
        norm: Literal["batch", "none"] = "batch",
        d_steps: int = 1,
        lr: float = 2e-4,
        beta1: float = 0.5,
        ema_halflife_nimg: float = 10_000,
    ):
        """
        Args:
            data: what the images look like; square, 16, 32, 64, ... pixels.
            z_dim: numbers in a latent vector, uniform in [-1, 1].
            channels: width next to the image; it doubles at every halving of the size.
            norm: batch norm, or none, in both networks.
            d_steps: discriminator steps per generator step.
            lr: Adam's learning rate, both players.
            beta1: Adam's momentum, both players.
            ema_halflife_nimg: half-life of the averaged generator, in images.
        """
        super().__init__()
        if data.height != data.width:
            raise ConfigError(f"recipe dcgan needs square images, not {data.height}x{data.width}")
        self.z_dim = z_dim
        size, shape = data.height, {"channels": channels, "image_channels": data.channels}
        self.G = Generator(size, z_dim=z_dim, norm=norm, **shape)
        self.D = Discriminator(size, norm=norm, **shape)
        self.G_ema = Ema(self.G, halflife_nimg=ema_halflife_nimg)
        self.players = {
            "D": Player([self.D], adam(lr, beta1, 0.999)),
            "G": Player([self.G], adam(lr, beta1, 0.999)),
        }
        self.phases = [
            Phase("D", self.discriminator, repeat=d_steps),
            Phase("G", self.generator, fresh=False),
        ]

    def fake(self, like: Tensor) -> Tensor:
        return self.G(torch.rand(len(like), self.z_dim, device=like.device) * 2 - 1)

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        real = batch["image"]
        with frozen_statistics(self.G):
            fake = self.fake(real)
        # Two forwards: batch norm must not mix real and fake images.
        return {"adv": minimax_d(self.D(real), self.D(fake))}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        return {"adv": non_saturating_g(self.D(self.fake(batch["image"])))}

    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)

    def latent(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.rand(n, self.z_dim, generator=generator, device=generator.device) * 2 - 1

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.G_ema(z)
