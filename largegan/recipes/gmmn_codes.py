"""Moment matching on codes (Li et al., 2015, arXiv 1502.02761, section 3.2): GMMN + AE.

A generator makes codes that match those of images, which a frozen auto-encoder gives and turns
back into images. That was trained before, by `autoencoder`, and comes with `run.init_from`; without
it the codes are those of random projections. As published but for Adam, and kernels for codes of
32 numbers in [0, 1].
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from largegan.ema import Ema
from largegan.nets.gmmn import Autoencoder, MomentGenerator
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Recipe, Terms, adam
from largegan.recipes.autoencoder import CodeOptions
from largegan.recipes.gmmn import MomentMatchingOptions, moment_loss


@dataclass(frozen=True, kw_only=True)
class GMMNCodesOptions(MomentMatchingOptions, CodeOptions):
    """Options of `gmmn_codes`."""

    variances: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
    """Of the Gaussian kernels on codes, which are summed."""
    z_dim: int = 10
    """Numbers in a latent vector, uniform in [-1, 1]."""
    width: int = 64
    """Units of the first hidden layer; the others have 4, 4 and 16 times as many."""
    lr: float = 1e-3
    """Adam's learning rate."""
    ema_halflife_nimg: float = 10_000
    """Half-life of the averaged generator, in images."""


class GMMNCodes(Recipe):
    """Moment matching on the codes of an auto-encoder (Li et al., 2015)."""

    begins_from = ("autoencoder",)

    def __init__(self, data: DataSpec, options: GMMNCodesOptions):
        super().__init__()
        self.z_dim, self.distance = options.z_dim, moment_loss(options)
        shape = (data.channels, data.height, data.width)
        # The first stage's averaged network under the name it has there; it does not learn here.
        sizes = {"code_dim": options.code_dim, "width": options.code_width}
        self.A_ema = Ema(Autoencoder(shape, **sizes))
        self.G = MomentGenerator(
            options.z_dim, (options.code_dim,), width=options.width, squash=torch.sigmoid
        )
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.players = {"G": Player([self.G], adam(options.lr, 0.9, 0.999))}
        self.phases = [Phase("G", self.moments)]

    def moments(self, batch: Batch, at: Progress) -> Terms:
        real = batch["image"]
        fake = self.G(torch.rand(len(real), self.z_dim, device=real.device) * 2 - 1)
        return {"mmd": self.distance(self.A_ema.net.encode(real), fake)}

    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)

    def latent(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.rand(n, self.z_dim, generator=generator, device=generator.device) * 2 - 1

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.A_ema.net.decode(self.G_ema(z))
