"""Super-resolution by a pixel loss: SRGAN's first stage (Ledig et al., 2017, arXiv 1609.04802).

As published: 16 residual blocks with batch norm and PReLU, MSE, Adam 1e-4, batch 16, crops of 96
pixels. Low-resolution images are made on the device, by antialiased bicubic reduction. Here also:
the networks without batch norm (`msrresnet`) and of ESRGAN (`rrdb`), L1 (which their authors
train with), any size and scale; images are enlarged by averaged weights. `srgan` and `esrgan`
begin from such a run with `run.init_from`.
"""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from largegan.ema import Ema
from largegan.files.ranges import Depth, Halflife, LearningRate, Scale, Width
from largegan.layers.resize import imresize
from largegan.nets.upscalers import Generator, Upscaler, check_scale, upscaler
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

PIXEL_LOSSES = {"l1": F.l1_loss, "mse": F.mse_loss}


@dataclass(frozen=True, kw_only=True)
class SuperResolutionOptions:
    """Options that all super-resolution recipes have."""

    scale: Scale = 4
    """How many times larger the result is."""
    generator: Generator = "srresnet"
    """The paper's network, the one without batch norm, or ESRGAN's dense blocks."""
    channels: Width = 64
    """Width of the generator."""
    blocks: Depth | None = None
    """Residual blocks; null: as published, 16, or 23 of rrdb."""
    norm: Literal["batch", "none"] = "batch"
    """Batch norm, or none, where the published network has it."""
    lr: LearningRate = 1e-4
    """Adam's learning rate."""
    ema_halflife_nimg: Halflife = 10_000
    """Half-life of the averaged generator, in images."""


@dataclass(frozen=True, kw_only=True)
class SRResNetOptions(SuperResolutionOptions):
    """Options of `srresnet`."""

    pixel: Literal["l1", "mse"] = "mse"
    """Distance between pixels."""


def unit(images: Tensor) -> Tensor:
    """Images in [-1, 1] -> [0, 1], in which these networks and losses were published."""
    return (images + 1) / 2


def reduced(images: Tensor, scale: int) -> Tensor:
    """`[N, C, H / scale, W / scale]` in [-1, 1] by `imresize`, rounded to 8 bits as in a file."""
    small = imresize(images, (images.shape[-2] // scale, images.shape[-1] // scale))
    return ((small.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def build_upscaler(data: DataSpec, options: SuperResolutionOptions) -> nn.Module:
    """Raises `ConfigError` when the scale does not divide the images."""
    check_scale(options.scale, (data.height, data.width))
    return upscaler(
        options.generator,
        image_channels=data.channels,
        channels=options.channels,
        blocks=options.blocks,
        scale=options.scale,
        norm=options.norm,
    )


class SRResNet(Recipe):
    """Super-resolution by a pixel loss (Ledig et al., 2017, the generator alone)."""

    directions = ("upscale",)

    def __init__(self, data: DataSpec, options: SRResNetOptions):
        super().__init__()
        self.scale, self.pixel = options.scale, PIXEL_LOSSES[options.pixel]
        self.G = build_upscaler(data, options)
        self.G_ema = Ema(self.G, halflife_nimg=options.ema_halflife_nimg)
        self.players = {"G": Player([self.G], adam(options.lr, 0.9, 0.999))}
        self.phases = [Phase("G", self.generator)]

    def sources(self, batch: Batch) -> Tensor:
        return reduced(batch["image"], self.scale)

    def generator(self, batch: Batch, at: Progress) -> Terms:
        image = unit(batch["image"])
        return {"pixel": self.pixel(self.G(unit(self.sources(batch))), image)}

    @by_averages_alone
    def after_iteration(self, at: Progress, batch_size: int) -> None:
        self.G_ema.update(self.G, at, batch_size)

    def translator(self, direction: str) -> nn.Module:
        return Upscaler(self.G_ema.net)
