"""ResNets of WGAN-GP, SNGAN and SAGAN, for 16 to 512 pixels (Gulrajani et al., 2017; Miyato et al.,
2018; Zhang et al., 2019).

Pre-activation residual blocks, nearest up-sampling, average-pool down-sampling. The papers share
them; they differ in widths, normalization, pooling and attention, which are options. BigGAN's
networks are made of the same blocks (`nets.biggan`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.layers.attention import BlocksWithAttention, attention_after
from largegan.layers.cond_norm import ConditionalBatchNorm2d
from largegan.layers.projection import ProjectionHead
from largegan.layers.spectral_norm import AS_PUBLISHED, Spectral, conv_and_linear
from largegan.nets.resnet_blocks import Activation, DownBlock, FirstBlock, Parts, UpBlock

BN_EPS = 1e-4

# Widths as multiples of `channels`: at 4 x 4, then after each block. 32 pixels are the CIFAR nets,
# 16 follows them; from 64 on they are the ImageNet nets.
G_WIDTHS = {
    16: (4, 4, 4),
    32: (4, 4, 4, 4),
    64: (16, 8, 4, 2, 1),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}
D_WIDTHS = {
    16: (2, 2, 2),
    32: (2, 2, 2, 2),
    64: (1, 2, 4, 8, 16),
    128: (1, 2, 4, 8, 16, 16),
    256: (1, 2, 4, 8, 8, 16, 16),
    512: (1, 1, 2, 4, 8, 8, 16, 16),
}
# The last blocks keep their size: two on CIFAR (8 x 8 at the end), one on larger images (4 x 4).
D_FLAT_BLOCKS = {16: 1, 32: 2, 64: 1, 128: 1, 256: 1, 512: 1}


def check_resolution(resolution: int) -> None:
    if resolution not in G_WIDTHS:
        sizes = ", ".join(map(str, G_WIDTHS))
        raise ConfigError(
            f"ResNet networks need images of {sizes} pixels, not {resolution}; "
            "pack the data at one of these sizes"
        )


def init_weights(net: nn.Module) -> None:
    """Glorot-uniform as in the published SNGAN: gain sqrt(2) in residual branches, 1 elsewhere.

    Conditional norms keep their own start.
    """
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding) and "norm" not in name:
            residual = name.endswith(("conv1", "conv2"))
            nn.init.xavier_uniform_(module.weight, gain=2**0.5 if residual else 1.0)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)


def blocks_that_give(size: int, *, resolution: int, up: bool) -> tuple[int, ...]:
    """The block, counted from 0, after which feature maps first have `size` x `size` pixels.

    In a generator (`up`) or a discriminator for images of `resolution`; () when none has.
    """
    sizes = []
    current = 4 if up else resolution
    while current < resolution if up else current > 4:
        current = current * 2 if up else current // 2
        sizes.append(current)
    return (sizes.index(size),) if size in sizes else ()


def attended(
    blocks: Sequence[int] | None, size: int, resolution: int, *, up: bool
) -> Sequence[int]:
    """Blocks that self-attention follows: as listed, or where feature maps have `size` pixels."""
    return blocks_that_give(size, resolution=resolution, up=up) if blocks is None else blocks


@dataclass(frozen=True, kw_only=True)
class ResNetOptions:
    """Options of every ResNet of this kind, generator or discriminator.

    `attention` lists the blocks, counted from 0, that self-attention follows; `fold` resamples
    inside the convolutions (`layers.fold`), the same numbers.
    """

    image_channels: int = 3
    num_classes: int = 0
    attention: Sequence[int] = ()
    activation: Activation = F.relu
    fold: bool = False


@dataclass(frozen=True, kw_only=True)
class GeneratorOptions(ResNetOptions):
    """Options of `Generator`.

    With `norm="none"` no example sees another: classes still scale and shift, nothing is
    normalized. `spectral` also normalizes the generator's weights (SAGAN does, SNGAN does not).
    """

    z_dim: int = 128
    channels: int = 64
    norm: Literal["batch", "none"] = "batch"
    spectral: Spectral | None = None


@dataclass(frozen=True, kw_only=True)
class CriticOptions(ResNetOptions):
    """Options of discriminators, these and BigGAN's.

    `second_order` says that a penalty differentiates the input gradient. `activated_shortcut`
    reproduces networks trained with an in-place activation, whose shortcuts saw act(x). `widths`
    are those of the blocks, instead of the published multiples of `channels`.
    """

    channels: int = 64
    spectral: Spectral | None = AS_PUBLISHED
    second_order: bool = False
    activated_shortcut: bool = False
    widths: Sequence[int] | None = None


@dataclass(frozen=True, kw_only=True)
class DiscriminatorOptions(CriticOptions):
    """Options of `Discriminator`.

    `norm`: "spectral" normalizes every weight (SNGAN), "none" nothing (the WGAN-GP critic, whose
    penalty is per example), "batch" the activations. `pool` is "sum" (SNGAN) or "mean" (WGAN-GP).
    The hidden width of a block is that of its output, or of its input when not `wide`.
    """

    norm: Literal["spectral", "batch", "none"] = "spectral"
    pool: Literal["sum", "mean"] = "sum"
    wide: bool = True


class Generator(BlocksWithAttention):
    """`[N, z_dim]` (and labels `[N]` when `num_classes` > 0) -> images in [-1, 1].

    Classes act through conditional batch norm; the last norm is never conditional.
    """

    def __init__(self, resolution: int, options: GeneratorOptions | None = None):
        super().__init__()
        check_resolution(resolution)
        o = options or GeneratorOptions()
        conv, linear = conv_and_linear(o.spectral)
        widths = [o.channels * m for m in G_WIDTHS[resolution]]

        def plain_norm(features: int) -> nn.Module:
            return nn.BatchNorm2d(features, BN_EPS) if o.norm == "batch" else nn.Identity()

        def conditional_norm(features: int) -> nn.Module:
            return ConditionalBatchNorm2d(
                features, o.num_classes, linear=linear, eps=BN_EPS, normalize=o.norm == "batch"
            )

        norm = conditional_norm if o.num_classes else plain_norm
        parts = Parts(norm=norm, conv=conv, activation=o.activation, fold=o.fold)
        self.num_classes, self.start, self.activation = o.num_classes, widths[0], o.activation
        self.project = linear(o.z_dim, widths[0] * 4 * 4)
        self.blocks = nn.ModuleList(UpBlock(*pair, parts) for pair in pairwise(widths))
        self.attention = attention_after(o.attention, widths[1:], conv=conv)
        self.norm = plain_norm(widths[-1])
        self.to_rgb = conv(widths[-1], o.image_channels, 3, 1, 1)
        init_weights(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        condition = [F.one_hot(labels, self.num_classes).to(z.dtype)] if self.num_classes else []
        x = self.project(z).unflatten(1, (self.start, 4, 4))
        x = self.through_blocks(x, [condition] * len(self.blocks))
        return self.to_rgb(self.activation(self.norm(x))).tanh()


class Discriminator(BlocksWithAttention):
    """Images `[N, C, R, R]` (and labels `[N]` when `num_classes` > 0) -> logits `[N]`.

    Classes act by projection.
    """

    def __init__(self, resolution: int, options: DiscriminatorOptions | None = None):
        super().__init__()
        check_resolution(resolution)
        o = options or DiscriminatorOptions()
        spectral = o.spectral if o.norm == "spectral" else None
        conv, _ = conv_and_linear(spectral)
        widths = o.widths or [o.channels * m for m in D_WIDTHS[resolution]]
        num_down = len(widths) - D_FLAT_BLOCKS[resolution]

        def block_norm(features: int) -> nn.Module:
            return nn.BatchNorm2d(features, BN_EPS) if o.norm == "batch" else nn.Identity()

        self.pool, self.activation = o.pool, o.activation
        parts = Parts(norm=block_norm, conv=conv, activation=o.activation, fold=o.fold)
        common = {"activated_shortcut": o.activated_shortcut, "wide": o.wide}
        first = FirstBlock(o.image_channels, widths[0], parts, wide=o.wide)
        self.blocks = nn.ModuleList([first])
        for i, pair in enumerate(pairwise(widths), start=1):
            self.blocks.append(DownBlock(*pair, parts, down=i < num_down, **common))
        self.attention = attention_after(
            o.attention, widths, conv=conv, second_order=o.second_order
        )
        self.head = ProjectionHead(widths[-1], num_classes=o.num_classes, spectral=spectral)
        init_weights(self)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.through_blocks(x)
        x = self.activation(x)
        h = x.sum((2, 3)) if self.pool == "sum" else x.mean((2, 3))  # [N, C]
        return self.head(h, labels)
