"""BigGAN's networks, for 16 to 512 pixels (Brock et al., 2019, appendix B, figure 15).

The blocks are those of the SNGAN ResNets; what BigGAN adds is in the generator: one class embedding
shared by all conditional norms, and a latent whose parts each reach one block.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.layers.attention import BlocksWithAttention, attention_after
from largegan.layers.batch_norm import BatchNorm2d
from largegan.layers.cond_norm import ConditionalBatchNorm2d, activated, class_table
from largegan.layers.orthogonal import Start, init_weights
from largegan.layers.spectral_norm import AS_PUBLISHED, Spectral, conv_and_linear
from largegan.nets import resnet_sn
from largegan.nets.resnet_blocks import Parts, UpBlock
from largegan.nets.resnet_sn import check_resolution

# Multiples of `channels`, where they are not those of SNGAN: the 64-pixel generator is that of
# BigGAN-PyTorch, as is the 32-pixel discriminator, twice as wide as SNGAN's; 16 follows.
G_WIDTHS = resnet_sn.G_WIDTHS | {64: (16, 16, 8, 4, 2)}
D_WIDTHS = resnet_sn.D_WIDTHS | {16: (4, 4, 4), 32: (4, 4, 4, 4)}


@dataclass(frozen=True, kw_only=True)
class GeneratorOptions(resnet_sn.ResNetOptions):
    """Options of `Generator`."""

    z_dim: int = 120
    """Numbers in a latent. When `hierarchical`, it is rounded down to equal parts, one for the
    first layer and one for each block; the generator's `z_dim` is what remains."""
    channels: int = 96
    """Unit of the widths."""
    shared_dim: int | None = 128
    """Length of the class embedding that all norms share and project (no spectral norm: it cripples
    training); None gives every norm a gain and bias per class."""
    hierarchical: bool = True
    """Each block sees its own part of z beside the class; else only the first layer sees z. Without
    classes the parts of z alone condition the norms."""
    norm: Literal["batch", "none"] = "batch"
    """"none" leaves the modulation and drops the batch statistics."""
    batch_norm: Callable[..., nn.Module] = BatchNorm2d
    """Builds the norms, called with features, `eps` and `affine`."""
    bn_eps: float = 1e-5
    """What batch norm adds to variances."""
    spectral: Spectral | None = AS_PUBLISHED
    """How weights are normalized; None: not at all."""
    widths: Sequence[int] | None = None
    """Of the start and after each block, instead of the published ones."""
    start: Start = "orthogonal"
    """What weights start as."""

    def plain_norm(self, features: int) -> nn.Module:
        """One that nothing conditions."""
        if self.norm == "none":
            return nn.Identity()
        return self.batch_norm(features, eps=self.bn_eps, affine=True)

    def block_norm(
        self, condition_dim: int, linear: Callable[..., nn.Module]
    ) -> Callable[[int], nn.Module]:
        """Features -> a norm that `condition_dim` numbers condition through `linear`."""
        if not condition_dim:
            return self.plain_norm
        return partial(
            ConditionalBatchNorm2d,
            condition_dim=condition_dim,
            linear=linear,
            norm=self.batch_norm,
            eps=self.bn_eps,
            normalize=self.norm == "batch",
        )


@dataclass(frozen=True, kw_only=True)
class DiscriminatorOptions(resnet_sn.DiscriminatorOptions):
    """Options of `Discriminator`; as published a block's hidden width is its output's."""

    channels: int = 96
    start: Start = "orthogonal"


class Generator(BlocksWithAttention):
    """`[N, z_dim]` (and labels `[N]` when `num_classes` > 0) -> images in [-1, 1]."""

    def __init__(self, resolution: int, options: GeneratorOptions | None = None):
        super().__init__()
        check_resolution(resolution)
        o = options or GeneratorOptions()
        hierarchical, num_classes = o.hierarchical, o.num_classes
        if hierarchical and num_classes and not o.shared_dim:
            raise ConfigError(
                "a hierarchical z needs a shared class embedding: give shared_dim, or turn off "
                "hierarchical"
            )
        widths = o.widths or [o.channels * m for m in G_WIDTHS[resolution]]
        self.part = o.z_dim // len(widths) if hierarchical else o.z_dim
        self.z_dim = self.part * len(widths) if hierarchical else o.z_dim
        self.hierarchical, self.activation, self.first = hierarchical, o.activation, widths[0]
        self.num_classes = num_classes
        conv, linear = conv_and_linear(o.spectral)
        shared_dim = o.shared_dim if num_classes and o.shared_dim else 0
        self.shared = nn.Embedding(num_classes, shared_dim) if shared_dim else None
        condition_dim = shared_dim or num_classes
        if hierarchical:
            condition_dim = self.part + shared_dim
        self.conditional = condition_dim > 0
        self.project = linear(self.part, widths[0] * 4 * 4)
        norm = o.block_norm(condition_dim, linear if shared_dim or hierarchical else class_table)
        parts = Parts(norm=norm, conv=conv, activation=o.activation, fold=o.fold)
        self.blocks = nn.ModuleList(UpBlock(*pair, parts) for pair in pairwise(widths))
        self.attention = attention_after(o.attention, widths[1:], conv=conv)
        self.norm = o.plain_norm(widths[-1])
        self.to_rgb = conv(widths[-1], o.image_channels, 3, 1, 1)
        init_weights(self, o.start)

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
        x = self.through_blocks(x, conditions)
        return self.to_rgb(activated(self.norm, x, activation=self.activation)).tanh()

    def _conditions(self, z: Tensor, embedded: Tensor | None) -> tuple[Tensor, list[tuple]]:
        """What the first layer sees, and what the norms of each block see (or nothing)."""
        if self.hierarchical:
            first, *parts = z.split(self.part, 1)
            classes = () if embedded is None else (embedded,)
            return first, [(torch.cat([*classes, part], 1),) for part in parts]
        return z, [(embedded,) if self.conditional else ()] * len(self.blocks)


class Discriminator(resnet_sn.Discriminator):
    """Images `[N, C, R, R]` (and labels `[N]`) -> logits `[N]`: SNGAN's, with BigGAN's start."""

    def __init__(self, resolution: int, options: DiscriminatorOptions | None = None):
        check_resolution(resolution)
        o = options or DiscriminatorOptions()
        widths = o.widths or [o.channels * m for m in D_WIDTHS[resolution]]
        super().__init__(resolution, replace(o, widths=widths))
        init_weights(self, o.start)
