"""Conditional generative adversarial nets (Mirza & Osindero, 2014, arXiv 1411.1784).

As published (section 4.1): z and the class each have a layer before they meet, in the generator and
in a maxout discriminator; MNIST, uniform z of 100, SGD from 0.1, momentum to 0.7, dropout 0.5,
batch 100. Here: `net = "mlp"` is that without dropout, with images in [-1, 1] through tanh, and
Adam, because this trains; `net = "conv"` puts the class beside z and beside the colors of DCGAN
(Radford et al., 2016), which later work means by cGAN. Samples come from averaged weights.
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from largegan.ema import Ema
from largegan.errors import ConfigError
from largegan.files.ranges import Width
from largegan.layers.latents import uniform
from largegan.losses import non_saturating_g
from largegan.nets import conditional
from largegan.recipe import Batch, DataSpec, Progress, Terms
from largegan.recipes.dcgan import DCGANTraining
from largegan.recipes.handicaps import Handicapped, smoothed_minimax_d
from largegan.recipes.turns import d_then_g


@dataclass(frozen=True, kw_only=True)
class CGANOptions(DCGANTraining):
    """Options of `cgan`."""

    net: Literal["mlp", "conv"] = "conv"
    """The paper's MLPs, or DCGAN with the class beside its inputs."""
    z_dim: Width = 100
    """Numbers in a latent vector, uniform in [-1, 1]."""
    channels: Width = 128
    """Conv: width next to the image; it doubles at every halving of the size."""
    g_channels: Width | None = None
    """Conv: that of the generator; null: channels."""
    d_channels: Width | None = None
    """Conv: that of the discriminator; null: channels."""
    width: Width = 200
    """Mlp: unit of the layers' widths."""
    g_width: Width | None = None
    """Mlp: that of the generator; null: width."""
    d_width: Width | None = None
    """Mlp: that of the discriminator; null: width."""
    norm: Literal["batch", "none"] = "batch"
    """Conv: batch norm, or none, in both networks."""


class CGAN(Handicapped):
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
        self.smoothing = options.label_smoothing
        build = perceptrons if options.net == "mlp" else convolutions
        self.G, self.D = build(data, options)
        self.handicap(options)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.players = options.adams(self.D, [self.G], options.beta1, 0.999)
        self.phases = d_then_g(self.discriminator, self.generator, d_steps=options.d_steps)

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        fake = self.fake_for_d(batch)
        # Two forwards: batch norm must not mix real and fake images.
        on_real = self.D(self.seen(batch["image"], at), batch["label"])
        on_real, on_fake = self.told(on_real, self.D(self.seen(fake, at), batch["label"]))
        return {"adv": smoothed_minimax_d(on_real, on_fake, self.smoothing)}

    def generator(self, batch: Batch, at: Progress) -> Terms:
        fake = self.seen(self.fake(batch), at)
        return {"adv": non_saturating_g(self.D(fake, batch["label"]))}


def perceptrons(data: DataSpec, o: CGANOptions) -> tuple[nn.Module, nn.Module]:
    """The paper's generator and discriminator."""
    shape, classes = (data.channels, data.height, data.width), {"num_classes": data.num_classes}
    g_width, d_width = o.g_width or o.width, o.d_width or o.width
    return (
        conditional.MLPGenerator(o.z_dim, shape, width=g_width, **classes),
        conditional.MLPDiscriminator(shape, width=d_width * 6 // 5, **classes),
    )


def convolutions(data: DataSpec, o: CGANOptions) -> tuple[nn.Module, nn.Module]:
    """DCGAN's, with the class beside. Raises `ConfigError` for images that are not square."""
    if data.height != data.width:
        raise ConfigError(
            f"recipe cgan needs square images, not {data.height}x{data.width}; or net: mlp"
        )
    shape = {"num_classes": data.num_classes, "image_channels": data.channels, "norm": o.norm}
    g_channels, d_channels = o.g_channels or o.channels, o.d_channels or o.channels
    return (
        conditional.ConvGenerator(data.height, z_dim=o.z_dim, channels=g_channels, **shape),
        conditional.ConvDiscriminator(data.height, channels=d_channels, **shape),
    )
