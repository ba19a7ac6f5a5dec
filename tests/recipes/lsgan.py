"""Least squares GAN (Mao et al., 2017, arXiv 1611.04076): an example of a new recipe."""

import torch
from torch import Tensor

from largegan.ema import Ema
from largegan.layers.cond_norm import frozen_statistics
from largegan.losses import least_squares_d, least_squares_g
from largegan.nets.dcgan import Discriminator, Generator
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Recipe, Terms, adam


class LSGAN(Recipe):
    """Least squares instead of a classifier's loss (Mao et al., 2017, Eq. 9)."""

    def __init__(self, data: DataSpec, *, z_dim: int = 8, channels: int = 4, norm: str = "batch"):
        super().__init__()
        self.z_dim = z_dim
        self.G = Generator(data.height, z_dim=z_dim, channels=channels, norm=norm)
        self.D = Discriminator(data.height, channels=channels, norm=norm)
        self.G_ema = Ema(self.G)
        self.players = {
            "D": Player([self.D], adam(2e-4, 0.5, 0.999)),
            "G": Player([self.G], adam(2e-4, 0.5, 0.999)),
        }
        self.phases = [
            Phase("D", self.discriminator),
            Phase("G", self.generator, fresh=False),
        ]

    def fake(self, like: Tensor) -> Tensor:
        return self.G(torch.randn(len(like), self.z_dim, device=like.device))

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        real = batch["image"]
        with frozen_statistics(self.G):  # running averages of batch norm: of G's own steps
            fake = self.fake(real)
        return {"adv": least_squares_d(self.D(real), self.D(fake))}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        return {"adv": least_squares_g(self.D(self.fake(batch["image"])))}

    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)

    def latent(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, self.z_dim, generator=generator, device=generator.device)

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.G_ema(z)
