"""Wasserstein GAN (Arjovsky et al., 2017, arXiv 1701.07875), Algorithm 1.

As published: DCGAN networks (64 pixels, no sigmoid), RMSprop 5e-5, 5 critic steps per generator
step, weights clipped to [-0.01, 0.01] after each, batch 64, Gaussian z of 100. The authors' code
also runs 100 critic steps at the start and every 500 iterations; the algorithm does not, nor does
this file. Here also: samples come from averaged weights.
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, optim

from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.layers.cond_norm import frozen_statistics
from largegan.losses import wasserstein_d, wasserstein_g
from largegan.nets.dcgan import Discriminator, Generator
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Recipe, Terms


class WGAN(Recipe):
    """Wasserstein GAN with weight clipping (Arjovsky et al., 2017)."""

    def __init__(
        self,
        data: DataSpec,
        *,
        z_dim: int = 100,
        channels: int = 128,
        norm: Literal["batch", "none"] = "batch",
        n_critic: int = 5,
        clip: float = 0.01,
        lr: float = 5e-5,
        ema_halflife_nimg: float = 10_000,
    ):
        """
        Args:
            data: what the images look like; square, 16, 32, 64, ... pixels.
            z_dim: numbers in a latent vector, standard normal.
            channels: width next to the image; it doubles at every halving of the size.
            norm: batch norm, or none, in both networks.
            n_critic: critic steps per generator step.
            clip: the critic's weights stay in [-clip, clip].
            lr: RMSprop's learning rate, both players.
            ema_halflife_nimg: half-life of the averaged generator, in images.
        """
        super().__init__()
        if data.height != data.width:
            raise ConfigError(f"recipe wgan needs square images, not {data.height}x{data.width}")
        self.z_dim, self.clip = z_dim, clip
        size, shape = data.height, {"channels": channels, "image_channels": data.channels}
        self.G = Generator(size, z_dim=z_dim, norm=norm, **shape)
        self.D = Discriminator(size, norm=norm, **shape)
        self.G_ema = Ema(self.G, halflife_nimg=ema_halflife_nimg)
        self.players = {
            "D": Player([self.D], partial(optim.RMSprop, lr=lr)),
            "G": Player([self.G], partial(optim.RMSprop, lr=lr)),
        }
        self.phases = [
            Phase("D", self.critic, repeat=n_critic, after=self.clip_weights),
            Phase("G", self.generator, fresh=False),
        ]

    def fake(self, like: Tensor) -> Tensor:
        return self.G(torch.randn(len(like), self.z_dim, device=like.device))

    def critic(self, batch: Batch, at: Progress) -> Terms:
        real = batch["image"]
        with frozen_statistics(self.G):
            fake = self.fake(real)
        return {"wasserstein": wasserstein_d(self.D(real), self.D(fake))}

    @torch.no_grad()
    def clip_weights(self) -> None:
        for weight in self.D.parameters():
            weight.clamp_(-self.clip, self.clip)

    def generator(self, batch: Batch, at: Progress) -> Terms:
        return {"wasserstein": wasserstein_g(self.D(self.fake(batch["image"])))}

    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)

    def latent(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, self.z_dim, generator=generator, device=generator.device)

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.G_ema(z)
