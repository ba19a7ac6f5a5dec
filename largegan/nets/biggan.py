"""BigGAN's networks, for 16 to 512 pixels (Brock et al., 2019, appendix B, figure 15).

The blocks are those of the SNGAN ResNets; what BigGAN adds is in the generator: one class embedding
shared by all conditional norms, and a latent whose parts each reach one block.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.layers.attention import attention_after
from largegan.layers.batch_norm import BatchNorm2d
from largegan.layers.cond_norm import ConditionalBatchNorm2d, activated, class_table
from largegan.layers.dropout import Drops
from largegan.layers.orthogonal import Start, init_weights
from largegan.layers.spectral_norm import AS_PUBLISHED, Spectral, conv_and_linear
from largegan.nets import resnet_sn
from largegan.nets.resnet_sn import Activation, UpBlock, check_resolution

# Multiples of `channels`, where they are not those of SNGAN: the 64-pixel generator is that of
# BigGAN-PyTorch, as is the 32-pixel discriminator, twice as wide as SNGAN's; 16 follows.
G_WIDTHS = resnet_sn.G_WIDTHS | {64: (16, 16, 8, 4, 2)}
D_WIDTHS = resnet_sn.D_WIDTHS | {16: (4, 4, 4), 32: (4, 4, 4, 4)}


class Generator(Drops):
    """`[N, z_dim]` (and labels `[N]` when `num_classes` > 0) -> images in [-1, 1].

    Args:
        resolution: pixels of a side, 16 to 512.
        z_dim: numbers in a latent. When `hierarchical`, it is rounded down to equal parts, one for
            the first layer and one for each block; `self.z_dim` is what remains.
        channels: unit of the widths.
        num_classes: 0 for none; then the parts of z alone condition the norms.
        shared_dim: length of the class embedding that all norms share and project (no spectral
            norm: it cripples training); None gives every norm a gain and bias per class.
        hierarchical: each block sees its own part of z beside the class; else only the first
            layer sees z.
        attention: blocks, counted from 0, that self-attention follows.
        norm: "none" leaves the modulation and drops the batch statistics.
        batch_norm: builds the norms, called with features, `eps` and `affine`.
        spectral: how weights are normalized; None: not at all.
        widths: of the start and after each block, instead of the published ones.
        fold: up-sample inside the convolutions; the same numbers (`layers.fold`).
        start: what weights start as.
    """

    def __init__(
        self,
        resolution: int,
        *,
        z_dim: int = 120,
        channels: int = 96,
        image_channels: int = 3,
        num_classes: int = 0,
        shared_dim: int | None = 128,
        hierarchical: bool = True,
        attention: Sequence[int] = (),
        norm: Literal["batch", "none"] = "batch",
        batch_norm: Callable[..., nn.Module] = BatchNorm2d,
        bn_eps: float = 1e-5,
        spectral: Spectral | None = AS_PUBLISHED,
        activation: Activation = F.relu,
        widths: Sequence[int] | None = None,
        fold: bool = False,
        start: Start = "orthogonal",
    ):
        super().__init__()
        check_resolution(resolution)
        if hierarchical and num_classes and not shared_dim:
            raise ConfigError(
                "a hierarchical z needs a shared class embedding: give shared_dim, or turn off "
                "hierarchical"
            )
        widths = widths or [channels * m for m in G_WIDTHS[resolution]]
        self.part = z_dim // len(widths) if hierarchical else z_dim
        self.z_dim = self.part * len(widths) if hierarchical else z_dim
        self.hierarchical, self.activation, self.first = hierarchical, activation, widths[0]
        self.num_classes = num_classes
        conv, linear = conv_and_linear(spectral)
        self.shared = nn.Embedding(num_classes, shared_dim) if num_classes and shared_dim else None
        condition_dim = shared_dim if self.shared else num_classes
        if hierarchical:
            condition_dim = self.part + (shared_dim if self.shared else 0)

        def block_norm(features: int) -> nn.Module:
            if not condition_dim:
                return plain_norm(features)
            return ConditionalBatchNorm2d(
                features,
                condition_dim,
                linear=linear if self.shared or hierarchical else class_table,
                norm=batch_norm,
                eps=bn_eps,
                normalize=norm == "batch",
            )

        def plain_norm(features: int) -> nn.Module:
            return (
                batch_norm(features, eps=bn_eps, affine=True) if norm == "batch" else nn.Identity()
            )

        self.conditional = condition_dim > 0
        self.project = linear(self.part, widths[0] * 4 * 4)
        self.blocks = nn.ModuleList(
            UpBlock(inputs, outputs, norm=block_norm, conv=conv, activation=activation, fold=fold)
            for inputs, outputs in pairwise(widths)
        )
        self.attention = attention_after(attention, widths[1:], conv=conv)
        self.norm = plain_norm(widths[-1])
        self.to_rgb = conv(widths[-1], image_channels, 3, 1, 1)
        init_weights(self, start)

    def embed(self, labels: Tensor | None) -> Tensor | None:
        """What norms see of a class: `[N, shared_dim]`, labels when nothing is shared, or None."""
        if not self.num_classes:
            return None
        return labels if self.shared is None else self.shared(labels)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.draw(z, self.embed(labels))

    def draw(self, z: Tensor, embedded: Tensor | None) -> Tensor:
        """Images from latents and class embeddings, which may lie between those of classes."""
        first, conditions = self._conditions(z, embedded)
        x = self.project(first).unflatten(1, (self.first, 4, 4))
        for i, (block, condition) in enumerate(zip(self.blocks, conditions, strict=True)):
            x = self.drop(block(x, *condition))  # [N, C', 2H, 2W]
            if str(i) in self.attention:
                x = self.attention[str(i)](x)
        return self.to_rgb(activated(self.norm, x, activation=self.activation)).tanh()

    def _conditions(self, z: Tensor, embedded: Tensor | None) -> tuple[Tensor, list[tuple]]:
        """What the first layer sees, and what the norms of each block see (or nothing)."""
        if self.hierarchical:
            first, *parts = z.split(self.part, 1)
            classes = () if embedded is None else (embedded,)
            return first, [(torch.cat([*classes, part], 1),) for part in parts]
        return z, [(embedded,) if self.conditional else ()] * len(self.blocks)


class Discriminator(resnet_sn.Discriminator):
    """Images `[N, C, R, R]` (and labels `[N]`) -> logits `[N]`: SNGAN's, with BigGAN's start.

    As published the hidden width of a block is its output's; when not `wide` it is its input's.
    `widths` are those of the blocks, instead of the published multiples of `channels`; for the
    other options see `resnet_sn.Discriminator`.
    """

    def __init__(
        self,
        resolution: int,
        *,
        channels: int = 96,
        image_channels: int = 3,
        num_classes: int = 0,
        norm: Literal["spectral", "batch", "none"] = "spectral",
        spectral: Spectral = AS_PUBLISHED,
        attention: Sequence[int] = (),
        second_order: bool = False,
        activation: Activation = F.relu,
        activated_shortcut: bool = False,
        widths: Sequence[int] | None = None,
        wide: bool = True,
        fold: bool = False,
        start: Start = "orthogonal",
    ):
        check_resolution(resolution)
        super().__init__(
            resolution,
            image_channels=image_channels,
            num_classes=num_classes,
            norm=norm,
            spectral=spectral,
            attention=attention,
            second_order=second_order,
            activation=activation,
            activated_shortcut=activated_shortcut,
            widths=widths or [channels * m for m in D_WIDTHS[resolution]],
            wide=wide,
            fold=fold,
        )
        init_weights(self, start)
