"""Conditional generative adversarial nets (Mirza & Osindero, 2014, arXiv 1411.1784).

As published (section 4.1): z and the class each have a layer before they meet, in the generator and
in a maxout discriminator; MNIST, uniform z of 100, SGD from 0.1, momentum to 0.7, dropout 0.5,
batch 100. Here: `net = "mlp"` is that without dropout, with images in [-1, 1] through tanh, and
Adam, because this trains; `net = "conv"` puts the class beside z and beside the colours of DCGAN
(Radford et al., 2016), which later work means by cGAN. Samples come from averaged weights.
"""

from typing import Literal

import torch
from torch import Tensor

from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.layers.cond_norm import frozen_statistics
from largegan.losses import minimax_d, non_saturating_g
from largegan.nets import conditional
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Recipe, Terms, adam


class CGAN(Recipe):
    """Conditional GAN (Mirza & Osindero, 2014), with MLPs or as a DCGAN."""

    reads = ("image", "label")

    def __init__(
        self,
        data: DataSpec,
        *,
        net: Literal["mlp", "conv"] = "conv",
        z_dim: int = 100,
        channels: int = 128,
        width: int = 200,
        norm: Literal["batch", "none"] = "batch",
        d_steps: int = 1,
        lr: float = 2e-4,
        beta1: float = 0.5,
        ema_halflife_nimg: float = 10_000,
    ):
        """
        Args:
            data: what the images look like; they must have classes.
            net: the paper's MLPs, or DCGAN with the class beside its inputs.
            z_dim: numbers in a latent vector, uniform in [-1, 1].
            channels: conv: width next to the image; it doubles at every halving of the size.
            width: mlp: unit of the layers' widths.
            norm: conv: batch norm, or none, in both networks.
            d_steps: discriminator steps per generator step.
            lr: Adam's learning rate, both players.
            beta1: Adam's momentum, both players.
            ema_halflife_nimg: half-life of the averaged generator, in images.
        """
        super().__init__()
        if not data.num_classes:
            raise ConfigError("recipe cgan needs classes; choose data with labels, or recipe dcgan")
        self.z_dim, self.num_classes = z_dim, data.num_classes
        shape = (data.channels, data.height, data.width)
        classes = {"num_classes": data.num_classes}
        if net == "mlp":
            self.G = conditional.MLPGenerator(z_dim, shape, width=width, **classes)
            self.D = conditional.MLPDiscriminator(shape, width=width * 6 // 5, **classes)
        else:
            if data.height != data.width:
                raise ConfigError(
                    f"recipe cgan needs square images, not {data.height}x{data.width}; or net: mlp"
                )
            conv = classes | {"channels": channels, "image_channels": data.channels, "norm": norm}
            self.G = conditional.ConvGenerator(data.height, z_dim=z_dim, **conv)
            self.D = conditional.ConvDiscriminator(data.height, **conv)
        self.G_ema = Ema(self.G, halflife_nimg=ema_halflife_nimg)
        self.players = {
            "D": Player([self.D], adam(lr, beta1, 0.999)),
            "G": Player([self.G], adam(lr, beta1, 0.999)),
        }
        self.phases = [
            Phase("D", self.discriminator, repeat=d_steps),
            Phase("G", self.generator, fresh=False),
        ]

    def fake(self, batch: Batch) -> Tensor:
        labels = batch["label"]
        z = torch.rand(len(labels), self.z_dim, device=labels.device) * 2 - 1
        return self.G(z, labels)

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        with frozen_statistics(self.G):
            fake = self.fake(batch)
        # Two forwards: batch norm must not mix real and fake images.
        on_real, on_fake = self.D(batch["image"], batch["label"]), self.D(fake, batch["label"])
        return {"adv": minimax_d(on_real, on_fake)}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        return {"adv": non_saturating_g(self.D(self.fake(batch), batch["label"]))}

    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)

    def latent(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.rand(n, self.z_dim, generator=generator, device=generator.device) * 2 - 1

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images for `z`; without labels the classes take turns."""
        if labels is None:
            labels = torch.arange(len(z), device=z.device) % self.num_classes
        return self.G_ema(z, labels)
