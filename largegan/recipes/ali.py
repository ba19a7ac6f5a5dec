"""Adversarially learned inference: a GAN with an encoder (Dumoulin et al., 2017, arXiv 1606.00704).

As published: the discriminator tells (x, E(x)) from (G(z), z), E(x) is drawn from a normal
distribution whose mean and deviation the encoder gives; generator and encoder are one player that
wants the opposite; Adam 1e-4 with beta1 0.5, normal z, dropout 0.2 in the discriminator, weights
from N(0, 0.01). Here: without the paper's maxout, images in [-1, 1] through tanh, any square size
from 8 pixels on, the discriminator steps first; samples and codes come from averaged weights.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from largegan.ema import Ema
from largegan.files.ranges import Beta, Fraction, LearningRate, Width
from largegan.layers.cond_norm import frozen_statistics
from largegan.losses import minimax_d
from largegan.nets.ali import Decoder, Encoder, JointDiscriminator, NetOptions, init_weights
from largegan.recipe import Batch, DataSpec, Progress, Terms
from largegan.recipes.encoder import WithEncoder
from largegan.recipes.learning_rates import LearningRates
from largegan.recipes.noise_to_image import NoiseToImageOptions, square_side
from largegan.recipes.turns import d_then_g


@dataclass(frozen=True, kw_only=True)
class ALIOptions(NoiseToImageOptions, LearningRates):
    """Options of `ali`."""

    z_dim: Width = 64
    """Numbers in a latent vector, standard normal."""
    channels: Width = 32
    """Width next to the image, of all networks; it doubles from layer to layer, up to 16 times."""
    norm: Literal["batch", "none"] = "batch"
    """Batch norm, or none, in generator and encoder."""
    d_norm: Literal["batch", "none"] = "batch"
    """Batch norm, or none, in the discriminator."""
    dropout: Fraction = 0.2
    """Of the discriminator's maps."""
    lr: LearningRate = 1e-4
    """Adam's learning rate, both players."""
    beta2: Beta = 0.999
    """Adam's second beta (published: 0.001)."""


class ALI(WithEncoder):
    """Adversarially learned inference (Dumoulin et al., 2017)."""

    def __init__(self, data: DataSpec, options: ALIOptions):
        super().__init__()
        self.z_dim, size = options.z_dim, square_side(data, "ali")
        shape = NetOptions(
            image_channels=data.channels,
            channels=options.channels,
            z_dim=options.z_dim,
            norm=options.norm,
        )
        self.G, self.E = Decoder(size, shape), Encoder(size, shape)
        d_shape = replace(shape, norm=options.d_norm)
        self.D = JointDiscriminator(size, d_shape, dropout=options.dropout)
        for net in (self.G, self.E, self.D):
            init_weights(net)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.E_ema = Ema(self.E, halflife_nimg=options.ema_halflife_nimg)
        self.players = options.adams(self.D, [self.G, self.E], 0.5, options.beta2)
        self.phases = d_then_g(self.discriminator, self.generator)

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """D's logits `[N]` of real images with their codes, and of made images with theirs."""
        z = self.noise(len(images), self.z_dim, device=images.device)
        mean, log_std = self.E(images)
        code = mean + log_std.exp() * torch.randn(mean.shape, device=images.device)
        made = self.G(z)
        # Two forwards: batch norm must not mix real and fake images.
        return self.D(images, code), self.D(made, z)

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        with frozen_statistics(self.G), frozen_statistics(self.E):
            on_data, on_made = self.logits(batch["image"])
        self.scored(on_data, on_made)
        return {"adv": minimax_d(on_data, on_made)}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        on_data, on_made = self.logits(batch["image"])
        return {"adv": minimax_d(on_made, on_data)}

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """The means of the codes."""
        return self.E_ema(images)[0]
