"""Generators that translate images, by name, with the published depth for a size."""

from typing import Literal

from torch import nn

from largegan.layers.plain_norm import Norm
from largegan.nets.resnet_translation import ResnetGenerator
from largegan.nets.unet_translation import LEAST_LEVELS, UNetGenerator

Architecture = Literal["resnet", "unet"]


def translator(
    architecture: Architecture,
    in_channels: int,
    out_channels: int,
    *,
    size: int,
    channels: int,
    depth: int | None,
    norm: Norm,
    antialias: bool,
    antialias_up: bool,
    dropout: bool,
) -> nn.Module:
    """A generator for images of about `size` pixels; it takes any other size too.

    `depth` is the residual blocks of a ResNet or the levels of a U-Net. None is what was
    published: 6 blocks below 256 pixels and 9 from there; 8 levels, or fewer so that the
    innermost one still has a pixel of its own.
    """
    if architecture == "unet":
        levels = depth or max(LEAST_LEVELS, min(8, size.bit_length() - 1))
        return UNetGenerator(
            in_channels, out_channels, channels=channels, levels=levels, norm=norm, dropout=dropout
        )
    return ResnetGenerator(
        in_channels,
        out_channels,
        channels=channels,
        blocks=depth or (9 if size >= 256 else 6),
        norm=norm,
        antialias_down=antialias,
        antialias_up=antialias_up,
        dropout=dropout,
    )
