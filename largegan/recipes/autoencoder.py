"""An auto-encoder: the first stage of moment matching on codes (Li et al., 2015, section 3.2).

As published: one hidden layer of 1024 units each way, codes of 32 numbers in [0, 1] through a
sigmoid, dropout in the encoder, which makes the decoder robust. Here: ReLU between, images in
[-1, 1], squares instead of cross entropy, all layers at once, Adam. `gmmn_codes` begins from such
a run with `run.init_from`. Its samples are images of uniform codes, which few images have.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from largegan.ema import Ema
from largegan.nets.gmmn import Autoencoder as Network
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Recipe, Terms, adam


@dataclass(frozen=True, kw_only=True)
class CodeOptions:
    """The auto-encoder's shape, in both stages."""

    code_dim: int = 32
    """Numbers in a code, in [0, 1]."""
    code_width: int = 1024
    """Units of the auto-encoder's hidden layers."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderOptions(CodeOptions):
    """Options of `autoencoder`."""

    dropout: float = 0.2
    """Of the encoder's hidden layer."""
    lr: float = 1e-3
    """Adam's learning rate."""
    ema_halflife_nimg: float = 10_000
    """Half-life of the averaged network, in images."""


class Autoencoder(Recipe):
    """An auto-encoder with codes in [0, 1] (Li et al., 2015)."""

    def __init__(self, data: DataSpec, options: AutoencoderOptions):
        super().__init__()
        self.code_dim = options.code_dim
        shape = (data.channels, data.height, data.width)
        sizes = {"code_dim": options.code_dim, "width": options.code_width}
        self.A = Network(shape, **sizes, dropout=options.dropout)
        self.A_ema = Ema(self.A, halflife_nimg=options.ema_halflife_nimg)
        self.players = {"A": Player([self.A], adam(options.lr, 0.9, 0.999))}
        self.phases = [Phase("A", self.reconstruction)]

    def reconstruction(self, batch: Batch, at: Progress) -> Terms:
        return {"mse": F.mse_loss(self.A(batch["image"]), batch["image"])}

    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.A_ema.update(self.A, at, batch_size)

    def latent(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.rand(n, self.code_dim, generator=generator, device=generator.device)

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.A_ema.net.decode(z)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        return self.A_ema.net.encode(images)
