"""Least squares GAN (Mao et al., 2017, arXiv 1611.04076): an example of a new recipe."""

from dataclasses import dataclass
from typing import Literal

from largegan.ema import Ema
from largegan.layers.cond_norm import frozen_statistics
from largegan.losses import least_squares_d, least_squares_g
from largegan.nets.dcgan import Discriminator, Generator
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Terms, adam
from largegan.recipes.noise_to_image import NoiseToImage, NoiseToImageOptions


@dataclass(frozen=True, kw_only=True)
class LSGANOptions(NoiseToImageOptions):
    """Options of `lsgan`."""

    z_dim: int = 8
    channels: int = 4
    """Width next to the image; it doubles at every halving of the size."""
    norm: Literal["batch", "none"] = "batch"
    """Batch norm, or none, in both networks."""


class LSGAN(NoiseToImage):
    """Least squares instead of a classifier's loss (Mao et al., 2017, Eq. 9)."""

    def __init__(self, data: DataSpec, options: LSGANOptions):
        super().__init__()
        self.z_dim = options.z_dim
        shape = {"channels": options.channels, "norm": options.norm}
        self.G = Generator(data.height, z_dim=options.z_dim, **shape)
        self.D = Discriminator(data.height, **shape)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.players = {
            "D": Player([self.D], adam(2e-4, 0.5, 0.999)),
            "G": Player([self.G], adam(2e-4, 0.5, 0.999)),
        }
        self.phases = [
            Phase("D", self.discriminator),
            Phase("G", self.generator, fresh=False),
        ]

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        with frozen_statistics(self.G):  # running averages of batch norm: of G's own steps
            fake = self.fake(batch)
        return {"adv": least_squares_d(self.D(batch["image"]), self.D(fake))}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        return {"adv": least_squares_g(self.D(self.fake(batch)))}
