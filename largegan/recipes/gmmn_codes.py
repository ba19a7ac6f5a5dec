"""Moment matching on codes (Li et al., 2015, arXiv 1502.02761, section 3.2): GMMN + AE.

An auto-encoder learns first; then a generator makes codes that match those of images, and the
decoder shows them. As published: one hidden layer of 1024 units each way, codes of 32 numbers in
[0, 1] through a sigmoid, dropout in the encoder, which makes the decoder robust; the generator and
its discrepancy are those of `gmmn`. Here: ReLU between, images in [-1, 1], squares instead of cross
entropy, all layers of the auto-encoder at once, Adam, kernels for such codes. Codes, and images of
codes, are those of the averaged auto-encoder.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from largegan.ema import Ema
from largegan.files.ranges import (
    Fraction,
    Images,
    ImagesOrNone,
    LearningRate,
    PositiveWeight,
    Width,
)
from largegan.layers.latents import uniform
from largegan.nets.gmmn import Autoencoder, MomentGenerator
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Terms, adam, by_averages_alone
from largegan.recipes.gmmn import MomentMatchingOptions, moment_loss
from largegan.recipes.noise_to_image import NoiseToImage, NoiseToImageOptions


@dataclass(frozen=True, kw_only=True)
class GMMNCodesOptions(MomentMatchingOptions, NoiseToImageOptions):
    """Options of `gmmn_codes`."""

    variances: tuple[PositiveWeight, ...] = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
    """Of the Gaussian kernels on codes, which are summed."""
    z_dim: Width = 10
    """Numbers in a latent vector, uniform in [-1, 1]."""
    width: Width = 64
    """Units of the first hidden layer; the others have 4, 4 and 16 times as many."""
    code_dim: Width = 32
    """Numbers in a code, in [0, 1]."""
    code_width: Width = 1024
    """Units of the auto-encoder's hidden layers."""
    dropout: Fraction = 0.2
    """Of the encoder's hidden layer."""
    code_nimg: Images = 200_000
    """Images after which the auto-encoder stops learning."""
    start_nimg: ImagesOrNone | None = None
    """Images after which the generator begins; null: when the auto-encoder stops."""
    lr: LearningRate = 1e-3
    """Adam's learning rate, both players."""


class GMMNCodes(NoiseToImage):
    """Moment matching on the codes of an auto-encoder (Li et al., 2015)."""

    noise = staticmethod(uniform)
    drawn_by = ("G_ema", "A_ema")

    def __init__(self, data: DataSpec, options: GMMNCodesOptions):
        super().__init__()
        self.z_dim, self.distance = options.z_dim, moment_loss(options)
        self.A = Autoencoder(
            (data.channels, data.height, data.width),
            code_dim=options.code_dim,
            width=options.code_width,
            dropout=options.dropout,
        )
        self.G = MomentGenerator(
            options.z_dim, (options.code_dim,), width=options.width, squash=torch.sigmoid
        )
        self.A_ema = Ema(self.A, halflife_nimg=options.ema_halflife_nimg)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.players = {
            "A": Player([self.A], adam(options.lr, 0.9, 0.999)),
            "G": Player([self.G], adam(options.lr, 0.9, 0.999)),
        }
        start = options.code_nimg if options.start_nimg is None else options.start_nimg
        self.phases = [
            Phase("A", self.reconstruction, until_nimg=options.code_nimg, others=()),
            Phase("G", self.moments, fresh=False, from_nimg=start, averages=True, others=()),
        ]

    def reconstruction(self, batch: Batch, at: Progress) -> Terms:
        return {"mse": F.mse_loss(self.A(batch["image"]), batch["image"])}

    def moments(self, batch: Batch, at: Progress) -> Terms:
        return {"mmd": self.distance(self.codes(batch["image"]), self.fake(batch))}

    @by_averages_alone
    def after_iteration(self, at: Progress, batch_size: int) -> None:
        super().after_iteration(at, batch_size)
        self.A_ema.update(self.A, at, batch_size)

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.show(self.G_ema(z))

    @torch.no_grad()
    def codes(self, images: Tensor) -> Tensor:
        """Codes `[N, code_dim]` in [0, 1]."""
        return self.A_ema.net.encode(images)

    @torch.no_grad()
    def show(self, codes: Tensor) -> Tensor:
        """Images of codes `[N, code_dim]`."""
        return self.A_ema.net.decode(codes)
