"""Translation from pairs by a conditional GAN (Isola et al., 2017, arXiv 1611.07004).

As published: a U-Net of 8 levels with dropout, a 70 x 70 PatchGAN that sees input and output
together, batch norm, cross entropy + 100 L1, Adam 2e-4 with beta1 0.5, batch 1, weights from
N(0, 0.02), the discriminator moves first; 100 epochs and 100 more while the learning rate falls
to 0 (`constant_nimg`, `decay_nimg`). Translation normalizes each image by its own statistics,
as there. Here: images are translated by averaged weights and without dropout (which the paper
leaves on, as noise), and the two steps of an iteration draw dropout anew.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from largegan.files.ranges import Weight
from largegan.layers.cond_norm import frozen_statistics
from largegan.losses import PATCH_LOSSES
from largegan.recipe import Batch, DataSpec, Phase, Progress, Terms, by_averages_alone
from largegan.recipes.translation import (
    ArchitectureOptions,
    Translation,
    build_discriminator,
    build_generator,
    channels_of,
)


@dataclass(frozen=True, kw_only=True)
class Pix2PixOptions(ArchitectureOptions):
    """Options of `pix2pix`."""

    direction: Literal["a_to_b", "b_to_a"] = "a_to_b"
    """Which domain becomes which."""
    architecture: Literal["resnet", "unet"] = "unet"
    norm: Literal["instance", "batch", "none"] = "batch"
    dropout: bool = True
    gan_loss: Literal["lsgan", "vanilla", "hinge"] = "vanilla"
    l1: Weight = 100.0
    """Weight of the distance to the true image (the paper's lambda)."""


class Pix2Pix(Translation):
    """Translation learned from pairs (Isola et al., 2017)."""

    paired = True

    def __init__(self, data: DataSpec, options: Pix2PixOptions):
        """
        Args:
            data: what the pairs look like; any size from 32 pixels on.
            options: see `Pix2PixOptions`.
        """
        super().__init__()
        self.keep(options)
        self.directions = (options.direction,)
        self.gan, self.l1 = PATCH_LOSSES[options.gan_loss], options.l1
        source, target = channels_of(data, options.direction)
        self.G = build_generator(data, source, target, options)
        self.D = build_discriminator(data, source + target, options)
        self.G_ema = self.averaged(self.G, options)
        self.players = {
            "D": self.player(self.d_lr, self.D),
            "G": self.player(self.g_lr, self.G),
        }
        self.phases = [
            Phase("D", self.discriminator),
            Phase("G", self.generator, fresh=False),
        ]

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        source, target = self.domains(batch)
        with frozen_statistics(self.G):
            fake = self.G(source)
        on_fake = self.D(torch.cat([source, fake], 1))
        on_real = self.D(torch.cat([source, target], 1))
        self.scored(on_real, on_fake, self.gan.reading)
        return {"gan": self.gan.discriminator(on_real, on_fake)}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        source, target = self.domains(batch)
        fake = self.G(source)
        return {
            "gan": self.gan.generator(self.D(torch.cat([source, fake], 1))),
            "l1": self.l1 * F.l1_loss(fake, target),
        }

    @by_averages_alone
    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)

    def translator(self, direction: str) -> nn.Module:
        return self.G_ema.net
