"""Conditional generative adversarial nets (Mirza & Osindero, 2014, arXiv 1411.1784).

As published (section 4.1): z and the class each have a layer before they meet, in the generator and
in a maxout discriminator; MNIST, uniform z of 100, SGD from 0.1, momentum to 0.7, dropout 0.5,
batch 100. Here: `net = "mlp"` is that without dropout, with images in [-1, 1] through tanh, and
Adam, because this trains; `net = "conv"` puts the class beside z and beside the colours of DCGAN
(Radford et al., 2016), which later work means by cGAN. Samples come from averaged weights.
"""

from dataclasses import dataclass
from typing import Literal

from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.layers.cond_norm import frozen_statistics
from largegan.layers.latents import uniform
from largegan.losses import minimax_d, non_saturating_g
from largegan.nets import conditional
from largegan.ranges import Beta, Depth, LearningRate, Width
from largegan.recipe import Batch, DataSpec, Phase, Player, Progress, Terms, adam
from largegan.recipes.noise_to_image import NoiseToImage, NoiseToImageOptions


@dataclass(frozen=True, kw_only=True)
class CGANOptions(NoiseToImageOptions):
    """Options of `cgan`."""

    net: Literal["mlp", "conv"] = "conv"
    """The paper's MLPs, or DCGAN with the class beside its inputs."""
    z_dim: Width = 100
    """Numbers in a latent vector, uniform in [-1, 1]."""
    channels: Width = 128
    """Conv: width next to the image; it doubles at every halving of the size."""
    width: Width = 200
    """Mlp: unit of the layers' widths."""
    norm: Literal["batch", "none"] = "batch"
    """Conv: batch norm, or none, in both networks."""
    d_steps: Depth = 1
    """Discriminator steps per generator step."""
    lr: LearningRate = 2e-4
    """Adam's learning rate, both players."""
    beta1: Beta = 0.5
    """Adam's momentum, both players."""


class CGAN(NoiseToImage):
    """Conditional GAN (Mirza & Osindero, 2014), with MLPs or as a DCGAN."""

    reads = ("image", "label")

    noise = staticmethod(uniform)

    def __init__(self, data: DataSpec, options: CGANOptions):
        """
        Args:
            data: what the images look like; they must have classes.
            options: see `CGANOptions`.
        """
        super().__init__()
        if not data.num_classes:
            raise ConfigError("recipe cgan needs classes; choose data with labels, or recipe dcgan")
        self.z_dim, self.num_classes = options.z_dim, data.num_classes
        shape = (data.channels, data.height, data.width)
        classes = {"num_classes": data.num_classes}
        if options.net == "mlp":
            self.G = conditional.MLPGenerator(options.z_dim, shape, width=options.width, **classes)
            self.D = conditional.MLPDiscriminator(shape, width=options.width * 6 // 5, **classes)
        else:
            if data.height != data.width:
                raise ConfigError(
                    f"recipe cgan needs square images, not {data.height}x{data.width}; or net: mlp"
                )
            conv = classes | {
                "channels": options.channels,
                "image_channels": data.channels,
                "norm": options.norm,
            }
            self.G = conditional.ConvGenerator(data.height, z_dim=options.z_dim, **conv)
            self.D = conditional.ConvDiscriminator(data.height, **conv)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.players = {
            "D": Player([self.D], adam(options.lr, options.beta1, 0.999)),
            "G": Player([self.G], adam(options.lr, options.beta1, 0.999)),
        }
        self.phases = [
            Phase("D", self.discriminator, repeat=options.d_steps),
            Phase("G", self.generator, fresh=False),
        ]

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        with frozen_statistics(self.G):
            fake = self.fake(batch)
        # Two forwards: batch norm must not mix real and fake images.
        on_real, on_fake = self.D(batch["image"], batch["label"]), self.D(fake, batch["label"])
        return {"adv": minimax_d(on_real, on_fake)}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        return {"adv": non_saturating_g(self.D(self.fake(batch), batch["label"]))}
