"""Improved training of Wasserstein GANs (Gulrajani et al., 2017, arXiv 1704.00028), Algorithm 1.

As published for CIFAR-10: ResNets, 128 wide, batch norm in the generator and nothing in the
critic; Adam 2e-4, beta (0, 0.9), linearly to 0 over 100,000 iterations; 5 critic steps, lambda
10, batch 64 (generator: 128). Here: the generator's batch is the critic's, images are not
dequantised, there is no class-conditional variant, any size from 16 to 512, and samples come from
averaged weights. The published decay is `decay_nimg = 6_400_000`.
"""

from typing import Literal

import torch
from torch import Tensor

from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.layers.cond_norm import frozen_statistics
from largegan.losses import gradient_penalty, wasserstein_d, wasserstein_g
from largegan.nets.resnet_sn import Discriminator, Generator
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Recipe, Terms, adam


class WGANGP(Recipe):
    """Wasserstein GAN with gradient penalty (Gulrajani et al., 2017)."""

    def __init__(
        self,
        data: DataSpec,
        *,
        z_dim: int = 128,
        g_channels: int = 32,
        d_channels: int = 64,
        g_norm: Literal["batch", "none"] = "batch",
        n_critic: int = 5,
        gp: float = 10.0,
        lr: float = 2e-4,
        decay_nimg: int | None = None,
        ema_halflife_nimg: float = 10_000,
    ):
        """
        Args:
            data: what the images look like; square, 16 to 512 pixels.
            z_dim: numbers in a latent vector, standard normal.
            g_channels: unit of the generator's widths (4 of them at 32 pixels).
            d_channels: unit of the critic's widths (2 of them at 32 pixels).
            g_norm: batch norm, or none, in the generator.
            n_critic: critic steps per generator step.
            gp: weight of the gradient penalty (the paper's lambda).
            lr: Adam's learning rate at the start, both players.
            decay_nimg: images after which the learning rate has come down to 0; null: constant.
            ema_halflife_nimg: half-life of the averaged generator, in images.
        """
        super().__init__()
        if data.height != data.width:
            raise ConfigError(f"recipe wgan_gp needs square images, not {data.height}x{data.width}")
        self.z_dim, self.gp, self.lr, self.decay_nimg = z_dim, gp, lr, decay_nimg
        size, colours = data.height, data.channels
        self.G = Generator(
            size, z_dim=z_dim, channels=g_channels, image_channels=colours, norm=g_norm
        )
        self.D = Discriminator(
            size, channels=d_channels, image_channels=colours, norm="none", pool="mean"
        )
        self.G_ema = Ema(self.G, halflife_nimg=ema_halflife_nimg)
        self.players = {
            "D": Player([self.D], adam(lr, 0.0, 0.9), self.schedule),
            "G": Player([self.G], adam(lr, 0.0, 0.9), self.schedule),
        }
        self.phases = [
            Phase("D", self.critic, repeat=n_critic, second_order=True),
            Phase("G", self.generator, fresh=False),
        ]

    def schedule(self, at: Progress) -> dict[str, float]:
        done = at.nimg / self.decay_nimg if self.decay_nimg else 0.0
        return {"lr": self.lr * max(0.0, 1.0 - done)}

    def fake(self, like: Tensor) -> Tensor:
        return self.G(torch.randn(len(like), self.z_dim, device=like.device))

    def critic(self, batch: Batch, at: Progress) -> Terms:
        real = batch["image"]
        with frozen_statistics(self.G):
            fake = self.fake(real)
        return {
            "wasserstein": wasserstein_d(self.D(real), self.D(fake)),
            "gp": self.gp * gradient_penalty(self.D, real, fake),
        }

    def generator(self, batch: Batch, at: Progress) -> Terms:
        return {"wasserstein": wasserstein_g(self.D(self.fake(batch["image"])))}

    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)

    def latent(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, self.z_dim, generator=generator, device=generator.device)

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.G_ema(z)
