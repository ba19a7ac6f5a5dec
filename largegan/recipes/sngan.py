"""Spectral normalization for GANs (Miyato et al., 2018, arXiv 1802.05957), with the projection
discriminator of Miyato & Koyama (2018, arXiv 1802.05637) where the data have classes.

As published for CIFAR-10: ResNets, G 256 and D 128 wide, spectral norm in D only, one power
iteration a forward, hinge loss, 5 discriminator steps, Adam 2e-4, beta (0, 0.9), linearly to 0
over 100,000 iterations, batch 64 (generator: 128). Here: the generator's batch is the
discriminator's, fakes take the labels of the batch's reals (the papers draw them uniformly), any
size from 16 to 512, and samples come from averaged weights. The published decay is
`decay_nimg = 6_400_000`.
"""

from typing import Literal

import torch
from torch import Tensor

from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.layers.cond_norm import frozen_statistics
from largegan.losses import hinge_d, hinge_g
from largegan.nets.resnet_sn import Discriminator, Generator
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Recipe, Terms, adam


class SNGAN(Recipe):
    """Spectral normalisation, ResNet, hinge, projection (Miyato et al., 2018)."""

    def __init__(
        self,
        data: DataSpec,
        *,
        z_dim: int = 128,
        g_channels: int = 64,
        d_channels: int = 64,
        g_norm: Literal["batch", "none"] = "batch",
        conditional: bool = True,
        d_steps: int = 5,
        lr: float = 2e-4,
        decay_nimg: int | None = None,
        ema_halflife_nimg: float = 10_000,
    ):
        """
        Args:
            data: what the images look like; square, 16 to 512 pixels.
            z_dim: numbers in a latent vector, standard normal.
            g_channels: unit of the generator's widths (4 of them at 32 pixels).
            d_channels: unit of the discriminator's widths (2 of them at 32 pixels).
            g_norm: batch norm, or none, in the generator.
            conditional: use the classes when the data have them.
            d_steps: discriminator steps per generator step.
            lr: Adam's learning rate at the start, both players.
            decay_nimg: images after which the learning rate has come down to 0; null: constant.
            ema_halflife_nimg: half-life of the averaged generator, in images.
        """
        super().__init__()
        if data.height != data.width:
            raise ConfigError(f"recipe sngan needs square images, not {data.height}x{data.width}")
        self.z_dim, self.lr, self.decay_nimg = z_dim, lr, decay_nimg
        self.num_classes = data.num_classes if conditional else 0
        size = data.height
        shape = {"image_channels": data.channels, "num_classes": self.num_classes}
        self.G = Generator(size, z_dim=z_dim, channels=g_channels, norm=g_norm, **shape)
        self.D = Discriminator(size, channels=d_channels, norm="spectral", **shape)
        self.G_ema = Ema(self.G, halflife_nimg=ema_halflife_nimg)
        self.players = {
            "D": Player([self.D], adam(lr, 0.0, 0.9), self.schedule),
            "G": Player([self.G], adam(lr, 0.0, 0.9), self.schedule),
        }
        self.phases = [
            Phase("D", self.discriminator, repeat=d_steps),
            Phase("G", self.generator, fresh=False),
        ]

    def schedule(self, at: Progress) -> dict[str, float]:
        done = at.nimg / self.decay_nimg if self.decay_nimg else 0.0
        return {"lr": self.lr * max(0.0, 1.0 - done)}

    def labels(self, batch: Batch) -> Tensor | None:
        return batch["label"] if self.num_classes else None

    def fake(self, batch: Batch) -> Tensor:
        real = batch["image"]
        z = torch.randn(len(real), self.z_dim, device=real.device)
        return self.G(z, self.labels(batch))

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        real, labels = batch["image"], self.labels(batch)
        with frozen_statistics(self.G):
            fake = self.fake(batch)
        return {"adv": hinge_d(self.D(real, labels), self.D(fake, labels))}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        return {"adv": hinge_g(self.D(self.fake(batch), self.labels(batch)))}

    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)

    def latent(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, self.z_dim, generator=generator, device=generator.device)

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images for `z`; without labels the classes take turns."""
        if self.num_classes and labels is None:
            labels = torch.arange(len(z), device=z.device) % self.num_classes
        return self.G_ema(z, labels)
