"""Translation from pairs by a conditional GAN (Isola et al., 2017, arXiv 1611.07004).

As published: a U-Net of 8 levels with dropout, a 70 x 70 PatchGAN that sees input and output
together, batch norm, cross entropy + 100 L1, Adam 2e-4 with beta1 0.5, batch 1, weights from
N(0, 0.02), the discriminator moves first; 100 epochs and 100 more while the learning rate falls
to 0 (`constant_nimg`, `decay_nimg`). Translation normalises each image by its own statistics,
as there. Here: images are translated by averaged weights and without dropout (which the paper
leaves on, as noise), and the two steps of an iteration draw dropout anew.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.ema import Ema
from largegan.layers.cond_norm import frozen_statistics
from largegan.layers.plain_norm import use_own_statistics
from largegan.losses import PATCH_LOSSES
from largegan.nets.patchgan import discriminator
from largegan.nets.translators import translator
from largegan.recipe import (
    Batch,
    DataSpec,
    Phase,
    Player,
    Progress,
    Recipe,
    Terms,
    adam,
    linear_decay,
)


class Pix2Pix(Recipe):
    """Translation learned from pairs (Isola et al., 2017)."""

    reads = ("image_a", "image_b")
    paired = True

    def __init__(
        self,
        data: DataSpec,
        *,
        direction: Literal["a_to_b", "b_to_a"] = "a_to_b",
        architecture: Literal["resnet", "unet"] = "unet",
        depth: int | None = None,
        g_channels: int = 64,
        d_channels: int = 64,
        d_layers: int = 3,
        norm: Literal["instance", "batch", "none"] = "batch",
        antialias: bool = False,
        dropout: bool = True,
        gan_loss: Literal["lsgan", "vanilla", "hinge"] = "vanilla",
        l1: float = 100.0,
        lr: float = 2e-4,
        constant_nimg: int | None = None,
        decay_nimg: int = 100_000,
        ema_halflife_nimg: float = 1_000,
    ):
        """
        Args:
            data: what the pairs look like; any size from 32 pixels on.
            direction: which domain becomes which.
            architecture: of the generator.
            depth: residual blocks, or U-Net levels; null: as published for the size.
            g_channels: width of the generator's first layer.
            d_channels: width of the discriminator's first layer.
            d_layers: halvings in the discriminator; 3 sees 70 x 70 patches, 0 single pixels.
            norm: in both networks.
            antialias: blur filters instead of strides (discriminator, and a ResNet generator).
            dropout: 0.5 in the generator's inner levels.
            gan_loss: least squares, cross entropy or hinge.
            l1: weight of the distance to the true image (the paper's lambda).
            lr: Adam's learning rate, both players.
            constant_nimg: images before the learning rate begins to fall; null: it never does.
            decay_nimg: images over which it falls to 0.
            ema_halflife_nimg: half-life of the averaged generator, in images.
        """
        super().__init__()
        self.directions, self.gan, self.l1 = (direction,), PATCH_LOSSES[gan_loss], l1
        self.lr, self.constant_nimg, self.decay_nimg = lr, constant_nimg, decay_nimg
        source, target = data.channels, data.channels_b
        if direction == "b_to_a":
            source, target = target, source
        self.G = translator(
            architecture,
            source,
            target,
            size=min(data.height, data.width),
            channels=g_channels,
            depth=depth,
            norm=norm,
            antialias=antialias,
            dropout=dropout,
        )
        self.D = discriminator(
            source + target,
            size=min(data.height, data.width),
            channels=d_channels,
            layers=d_layers,
            norm=norm,
            antialias=antialias,
        )
        self.G_ema = Ema(use_own_statistics(self.G), halflife_nimg=ema_halflife_nimg)
        self.players = {
            "D": Player([self.D], adam(lr, 0.5, 0.999), self.schedule),
            "G": Player([self.G], adam(lr, 0.5, 0.999), self.schedule),
        }
        self.phases = [
            Phase("D", self.discriminator),
            Phase("G", self.generator, fresh=False),
        ]

    def schedule(self, at: Progress) -> dict[str, float]:
        return linear_decay(
            self.lr, at, constant_nimg=self.constant_nimg, decay_nimg=self.decay_nimg
        )

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Input and true output `[N, C, H, W]`."""
        images = batch["image_a"], batch["image_b"]
        return images if self.directions == ("a_to_b",) else images[::-1]

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        source, target = self.pair(batch)
        with frozen_statistics(self.G):
            fake = self.G(source)
        on_fake = self.D(torch.cat([source, fake], 1))
        on_real = self.D(torch.cat([source, target], 1))
        return {"gan": self.gan.discriminator(on_real, on_fake)}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        source, target = self.pair(batch)
        fake = self.G(source)
        return {
            "gan": self.gan.generator(self.D(torch.cat([source, fake], 1))),
            "l1": self.l1 * F.l1_loss(fake, target),
        }

    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)

    def translator(self, direction: str) -> nn.Module:
        return self.G_ema.net
