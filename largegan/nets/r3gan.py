"""R3GAN's networks (Huang et al., 2024, "The GAN is dead; long live the GAN!", arXiv 2501.05441).

A ResNeXt without normalization: inverted bottlenecks whose 3 x 3 convolutions are grouped, biases
only in the activations, residual branches that start at zero (section 3, appendix A). The
generator and the discriminator are each other's mirror image. Stages are listed from the smallest
on, in both; each doubles the size of the one before. Images may have any height and width that
can be halved so often. Under autocast the `sixteen_bit` largest stages use its sixteen bits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.layers.precision import compute_dtype, exact
from largegan.ops import BINOMIAL, bias_act, conv2d, downsample2d, upsample2d

SLOPE = 0.2  # of leaky ReLUs
GAIN = (2 / (1 + SLOPE**2)) ** 0.5  # keeps the second moment through them (He et al., 2015)
CONVS = 3  # in a residual branch


def he_normal(*shape: int, gain: float = 1.0) -> nn.Parameter:
    """Weights `[outputs, inputs, ...]` drawn from N(0, gain^2 / fan-in)."""
    fan_in = torch.Size(shape[1:]).numel()
    return nn.Parameter(torch.randn(shape) * gain / fan_in**0.5)


class Conv(nn.Module):
    """Convolution without a bias that keeps the size: `[N, I, H, W]` -> `[N, O, H, W]`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, *, groups: int = 1, gain: float = 1.0
    ):
        super().__init__()
        self.groups = groups
        self.weight = he_normal(outputs, inputs // groups, kernel, kernel, gain=gain)

    def forward(self, x: Tensor) -> Tensor:
        padding = self.weight.shape[-1] // 2
        return conv2d(x, self.weight.to(x.dtype), padding=padding, groups=self.groups)


class BiasedLeakyReLU(nn.Module):
    """`lrelu(x + bias)`: the only places of the network that have biases."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return bias_act(x, self.bias.to(x.dtype), act="lrelu", alpha=SLOPE, gain=1.0)


class Block(nn.Module):
    """x + conv1x1(act(grouped conv3x3(act(conv1x1(x))))), wider in between by `expansion`.

    `depth` is the number of such blocks in the network: as in Fixup (Zhang et al., 2019), the
    last convolution starts at zero and the others are scaled by depth^(-1 / (2 m - 2)), m = 3.
    """

    def __init__(self, channels: int, *, expansion: int, groups: int, kernel: int, depth: int):
        super().__init__()
        wide = channels * expansion
        gain = GAIN * depth ** (-1 / (2 * CONVS - 2))
        self.expand = Conv(channels, wide, gain=gain)
        self.act1 = BiasedLeakyReLU(wide)
        self.mix = Conv(wide, wide, kernel, groups=groups, gain=gain)
        self.act2 = BiasedLeakyReLU(wide)
        self.project = Conv(wide, channels, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(self.act2(self.mix(self.act1(self.expand(x)))))


class Up(nn.Module):
    """Twice the size through the filter [1, 3, 3, 1], after a 1 x 1 where the width changes."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = Conv(inputs, outputs) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return upsample2d(self.conv(x), BINOMIAL)


class Down(nn.Module):
    """Half the size through the filter [1, 3, 3, 1], before a 1 x 1 where the width changes."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = Conv(inputs, outputs) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(downsample2d(x, BINOMIAL))


class Stem(nn.Module):
    """Vectors `[N, inputs]` -> `[N, C, h, w]`: a learned image for each channel, times a number."""

    def __init__(self, inputs: int, channels: int, size: tuple[int, int]):
        super().__init__()
        self.basis = nn.Parameter(torch.randn(channels, *size))
        self.weight = he_normal(channels, inputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.basis * F.linear(x, self.weight)[:, :, None, None]


class Head(nn.Module):
    """`[N, C, h, w]` -> `[N, outputs]`: each channel weighed over its pixels, then mixed."""

    def __init__(self, channels: int, outputs: int, size: tuple[int, int]):
        super().__init__()
        self.basis = he_normal(channels, 1, *size)
        self.weight = he_normal(outputs, channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear((x * self.basis.squeeze(1)).sum((2, 3)), self.weight)


class Embedding(nn.Module):
    """One-hot classes `[N, classes]` -> `[N, features]`, without a bias."""

    def __init__(self, classes: int, features: int, *, gain: float = 1.0):
        super().__init__()
        self.weight = he_normal(features, classes, gain=gain)

    def forward(self, c: Tensor) -> Tensor:
        return F.linear(c.to(self.weight.dtype), self.weight)


def smallest_size(height: int, width: int, stages: int) -> tuple[int, int]:
    """(height, width) of the first stage, which `stages` - 1 doublings turn into the image's."""
    cell = 2 ** (stages - 1)
    if height % cell or width % cell:
        raise ConfigError(
            f"{stages} stages of R3GAN need a height and width that are multiples of {cell}, and "
            f"the images have {height}x{width}: pack them at such a size, or give fewer widths"
        )
    return height // cell, width // cell


@dataclass(frozen=True, kw_only=True)
class TrunkOptions:
    """Options of both networks.

    `groups` are the groups of the 3 x 3 convolutions ("cardinality" in the paper), one number a
    stage, as for `widths` and `blocks`.
    """

    widths: Sequence[int]
    groups: Sequence[int]
    blocks: Sequence[int]
    expansion: int = 2
    kernel: int = 3
    sixteen_bit: int = 3
    image_channels: int = 3
    c_dim: int = 0


def check_lists(options: TrunkOptions) -> None:
    """Refuses lists that do not fit together, in one sentence."""
    widths, groups, blocks = options.widths, options.groups, options.blocks
    expansion = options.expansion
    if not len(widths) == len(groups) == len(blocks) > 0:
        raise ConfigError(
            f"R3GAN needs as many widths as cardinalities and numbers of blocks, got "
            f"{len(widths)}, {len(groups)} and {len(blocks)}"
        )
    for width, count in zip(widths, groups, strict=True):
        if width < 1 or count < 1 or width * expansion % count:
            raise ConfigError(
                f"{count} groups cannot share the {width * expansion} features of a block that is "
                f"{width} wide ({expansion} times as many inside); give another cardinality"
            )


class Trunk(nn.Module):
    """What both networks share: stages from the smallest on, each a list of blocks."""

    def __init__(self, options: TrunkOptions):
        super().__init__()
        check_lists(options)
        widths, groups, blocks = options.widths, options.groups, options.blocks
        self.exact_stages = max(0, len(widths) - options.sixteen_bit)
        inside = {"expansion": options.expansion, "kernel": options.kernel}
        shared = inside | {"depth": sum(blocks)}
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(width, groups=group, **shared) for _ in range(count)))
            for width, group, count in zip(widths, groups, blocks, strict=True)
        )

    def dtype(self, stage: int, like: Tensor) -> torch.dtype:
        """What a stage computes in: float32 near the vectors, sixteen bits near the image."""
        own = next(self.parameters()).dtype
        return own if stage < self.exact_stages else compute_dtype(like)


class Generator(Trunk):
    """z `[N, z_dim]` (and one-hot classes `[N, c_dim]`) -> images `[N, channels, H, W]`.

    Around [-1, 1] but not bounded.
    """

    def __init__(
        self, height: int, width: int, options: TrunkOptions, *, z_dim: int, embed_dim: int = 64
    ):
        super().__init__(options)
        widths, c_dim = options.widths, options.c_dim
        self.embed = Embedding(c_dim, embed_dim) if c_dim else None
        inputs = z_dim + (embed_dim if c_dim else 0)
        self.stem = Stem(inputs, widths[0], smallest_size(height, width, len(widths)))
        self.ups = nn.ModuleList(Up(i, o) for i, o in pairwise(widths))
        self.to_image = Conv(widths[-1], options.image_channels)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        types = [self.dtype(i, z) for i in range(len(self.stages))]
        with exact(z):
            z = z.to(self.stem.weight.dtype)
            x = self.stem(z if self.embed is None else torch.cat([z, self.embed(c)], 1))
            x = x.contiguous(memory_format=torch.channels_last)  # as its convolutions want it
            for i, stage in enumerate(self.stages):
                x = x.to(types[i])
                x = stage(x if i == 0 else self.ups[i - 1](x))
            return self.to_image(x).to(z.dtype)


class Discriminator(Trunk):
    """Images `[N, channels, H, W]` (and one-hot classes `[N, c_dim]`) -> logits `[N]`.

    Classes act by projection: `<features, embedding>` (Miyato & Koyama, 2018).
    """

    def __init__(self, height: int, width: int, options: TrunkOptions, *, embed_dim: int = 768):
        super().__init__(options)
        widths, c_dim = options.widths, options.c_dim
        self.from_image = Conv(options.image_channels, widths[-1])
        self.downs = nn.ModuleList(Down(i, o) for o, i in pairwise(widths))
        size = smallest_size(height, width, len(widths))
        self.head = Head(widths[0], embed_dim if c_dim else 1, size)
        # A dot product of so many numbers starts as large as one of them.
        self.embed = Embedding(c_dim, embed_dim, gain=embed_dim**-0.5) if c_dim else None

    def forward(self, image: Tensor, c: Tensor | None = None) -> Tensor:
        types = [self.dtype(i, image) for i in range(len(self.stages))]
        with exact(image):
            image = image.contiguous(memory_format=torch.channels_last)
            x = self.from_image(image.to(types[-1]))
            for i in reversed(range(len(self.stages))):
                x = self.stages[i](x.to(types[i]))
                x = self.downs[i - 1](x) if i else x
            x = self.head(x.to(self.head.weight.dtype))
            if self.embed is None:
                return x.squeeze(1)
            return (x * self.embed(c)).sum(1)
