"""SRGAN: photo-realistic super-resolution (Ledig et al., 2017, arXiv 1609.04802).

As published: SRResNet, a VGG-like discriminator of 96-pixel crops, cross entropy, Adam 1e-4, from
a generator that was trained on pixels (`run.init_from` a run of `srresnet`). The weights of the
losses and the L1 distances are those of the public re-implementations (MMagic): 0.01 pixel + 1
content + 0.005 adversarial; the paper has 0 + 0.006 + 0.001 and squares. The content network is
VGG19 before the ReLU of conv5_4, or any timm backbone with local weights; see `content`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from largegan.ema import Ema
from largegan.files.ranges import Weight, Width
from largegan.losses import PATCH_LOSSES
from largegan.nets.content import ContentLoss
from largegan.nets.upscalers import Judge, Upscaler, judge
from largegan.recipe import (
    Batch,
    DataSpec,
    Phase,
    Player,
    Progress,
    Recipe,
    Terms,
    adam,
    by_averages_alone,
)
from largegan.recipes.learning_rates import LearningRates
from largegan.recipes.srresnet import (
    PIXEL_LOSSES,
    SuperResolutionOptions,
    build_upscaler,
    reduced,
    unit,
)


@dataclass(frozen=True, kw_only=True)
class SRGANOptions(SuperResolutionOptions, LearningRates):
    """Options of `srgan`."""

    discriminator: Judge = "srgan"
    """The paper's, MMagic's and BasicSR's (vgg), or one that judges every pixel (unet)."""
    d_channels: Width = 64
    """Width of the discriminator's first layer."""
    content: str = "vgg19"
    """Network of the content loss: vgg19, a timm model with local weights, or random:NAME."""
    content_distance: Literal["l1", "mse"] = "l1"
    """Distance between its features."""
    pixel: Literal["l1", "mse"] = "l1"
    """Distance between pixels."""
    pixel_weight: Weight = 1e-2
    """Weight of the distance between pixels."""
    content_weight: Weight = 1.0
    """Weight of the distance between features; 0: no content network."""
    gan_weight: Weight = 5e-3
    """Weight of the adversarial loss of the generator."""
    gan_loss: Literal["lsgan", "vanilla", "hinge", "wgan"] = "vanilla"
    """Least squares, cross entropy, hinge or Wasserstein."""


class SRGAN(Recipe):
    """Super-resolution GAN (Ledig et al., 2017)."""

    directions = ("upscale",)
    begins_from = ("srresnet",)

    def __init__(self, data: DataSpec, options: SRGANOptions):
        super().__init__()
        self.options, self.scale = options, options.scale
        self.pixel, self.gan = PIXEL_LOSSES[options.pixel], PATCH_LOSSES[options.gan_loss]
        self.content = ContentLoss(
            options.content, distance=options.content_distance, weight=options.content_weight
        )
        self.G = build_upscaler(data, options)
        self.D = judge(
            options.discriminator,
            size=(data.height, data.width),
            image_channels=data.channels,
            channels=options.d_channels,
            norm=options.norm,
        )
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        g_lr, d_lr = options.rates()
        self.players = {
            "G": Player([self.G], adam(g_lr, 0.9, 0.999)),
            "D": Player([self.D], adam(d_lr, 0.9, 0.999)),
        }
        self.phases = [
            Phase("G", self.generator),
            Phase("D", self.discriminator, fresh=False, others=()),
        ]

    def begin_training(self, device: torch.device) -> None:
        self.content.open(device)

    def sources(self, batch: Batch) -> Tensor:
        return reduced(batch["image"], self.scale)

    def generator(self, batch: Batch, at: Progress) -> Terms:
        real = unit(batch["image"])
        fake = self.G(unit(self.sources(batch)))
        batch["fake"] = fake.detach()  # the discriminator judges it as it was before this step
        return self.distances(fake, real) | {
            "gan": self.options.gan_weight * self.gan.generator(self.D(fake))
        }

    def distances(self, fake: Tensor, real: Tensor) -> Terms:
        """The weighted losses that know the true image."""
        terms = {"pixel": self.options.pixel_weight * self.pixel(fake, real)}
        if self.options.content_weight:
            terms["content"] = self.content(fake, real)
        return terms

    def discriminator(self, batch: Batch, at: Progress) -> Terms:
        on_real, on_fake = self.D(unit(batch["image"])), self.D(batch["fake"])
        self.scored(on_real, on_fake, self.gan.reading)
        return {"real": self.gan.real(on_real), "fake": self.gan.fake(on_fake)}

    @by_averages_alone
    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)

    def translator(self, direction: str) -> nn.Module:
        return Upscaler(self.G_ema.net)
