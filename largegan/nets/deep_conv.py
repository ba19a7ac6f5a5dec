"""The standard CNNs of the spectral-normalization paper (Miyato et al., 2018, table 3).

A DCGAN in spirit, but with a linear layer to 4 x 4, a 3 x 3 convolution to colors, and pairs of
convolutions in the discriminator. Widths are explicit; the published ones are the defaults.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from largegan.errors import ConfigError
from largegan.layers.attention import BlocksWithAttention, attention_after
from largegan.layers.cond_norm import ConditionalBatchNorm2d
from largegan.layers.projection import ProjectionHead
from largegan.layers.spectral_norm import SNConv2d, SNConvTranspose2d, SNLinear, Spectral

WIDEST = 8  # times the width next to the image
Activation = Callable[[Tensor], Tensor]
BN_EPS = 1e-4


def widths_for(resolution: int, channels: int) -> list[int]:
    """A generator's from 4 x 4 on, in the papers' manner: halved with every size, 8 at most.

    Raises ConfigError for sizes that 4 does not double to.
    """
    doublings = (resolution // 4).bit_length() - 1
    if doublings < 2 or 4 << doublings != resolution:
        raise ConfigError(
            f"standard CNNs need images of 16, 32, 64, ... pixels, not {resolution}; pack the data "
            "at one of these sizes"
        )
    return [channels * min(WIDEST, 1 << i) for i in reversed(range(doublings + 1))]


def init_weights(net: nn.Module) -> None:
    """Weights from N(0, 0.02), as in DCGAN; conditional norms keep their own start."""
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and "norm" not in name:
            nn.init.normal_(module.weight, 0.0, 0.02)
            nn.init.zeros_(module.bias)


class UpBlock(nn.Module):
    """4 x 4 stride-2 transposed convolution, (conditional) batch norm, activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        num_classes: int,
        norm: Literal["batch", "none"],
        spectral_norm: bool,
        activation: Activation,
    ):
        super().__init__()
        self.activation = activation
        self.conv = (SNConvTranspose2d if spectral_norm else nn.ConvTranspose2d)(
            inputs, outputs, 4, 2, 1
        )
        linear = SNLinear if spectral_norm else nn.Linear
        normalize = norm == "batch"
        self.norm = nn.BatchNorm2d(outputs, BN_EPS) if normalize else nn.Identity()
        if num_classes:
            self.norm = ConditionalBatchNorm2d(
                outputs, num_classes, linear=linear, eps=BN_EPS, normalize=normalize
            )

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(x), *condition))  # [N, C', 2H, 2W]


class Generator(BlocksWithAttention):
    """`[N, z_dim]` (and labels `[N]` when `num_classes` > 0) -> images in [-1, 1].

    `widths[0]` channels at 4 x 4, then one doubling of the size for each further width. With `norm`
    "none" no example sees another.
    """

    def __init__(
        self,
        widths: Sequence[int] = (512, 256, 128, 64),
        *,
        z_dim: int = 128,
        image_channels: int = 3,
        num_classes: int = 0,
        norm: Literal["batch", "none"] = "batch",
        spectral_norm: bool = False,
        attention: Sequence[int] = (),
        activation: Activation = F.relu,
    ):
        super().__init__()
        self.num_classes, self.start = num_classes, widths[0]
        self.project = (SNLinear if spectral_norm else nn.Linear)(z_dim, widths[0] * 4 * 4)
        self.blocks = nn.ModuleList(
            UpBlock(
                inputs,
                outputs,
                num_classes=num_classes,
                norm=norm,
                spectral_norm=spectral_norm,
                activation=activation,
            )
            for inputs, outputs in pairwise(widths)
        )
        conv = SNConv2d if spectral_norm else nn.Conv2d
        self.attention = attention_after(attention, widths[1:], conv=conv)
        self.to_rgb = conv(widths[-1], image_channels, 3, 1, 1)
        init_weights(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        condition = [F.one_hot(labels, self.num_classes).to(z.dtype)] if self.num_classes else []
        x = self.project(z).unflatten(1, (self.start, 4, 4))
        x = self.through_blocks(x, [condition] * len(self.blocks))
        return self.to_rgb(x).tanh()


class DownBlock(nn.Module):
    """3 x 3 convolution to the new width, then 4 x 4 stride 2, each with its activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        norm: Literal["spectral", "batch", "none"],
        activation: Activation,
    ):
        super().__init__()
        self.activation = activation
        conv = SNConv2d if norm == "spectral" else nn.Conv2d
        self.conv1 = conv(inputs, outputs, 3, 1, 1)
        self.conv2 = conv(outputs, outputs, 4, 2, 1)
        self.norm1 = nn.BatchNorm2d(outputs, BN_EPS) if norm == "batch" else nn.Identity()
        self.norm2 = nn.BatchNorm2d(outputs, BN_EPS) if norm == "batch" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.norm1(self.conv1(x)))  # [N, C', H, W]
        return self.activation(self.norm2(self.conv2(x)))  # [N, C', H/2, W/2]


class Discriminator(BlocksWithAttention):
    """Images of any size that halves cleanly -> logits `[N]`; projection when there are classes.

    One `DownBlock` for each width but the last, which a 3 x 3 convolution gives before the sum
    over positions. `norm` is "spectral" (every layer), "batch" or "none". `attention` lists the
    blocks, counted from 0, that self-attention follows; `second_order` says that a penalty
    differentiates the input gradient.
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256, 512),
        *,
        image_channels: int = 3,
        num_classes: int = 0,
        norm: Literal["spectral", "batch", "none"] = "spectral",
        attention: Sequence[int] = (),
        second_order: bool = False,
        activation: Activation = F.relu,
    ):
        super().__init__()
        self.activation = activation
        spectral = norm == "spectral"
        inputs = [image_channels, *widths[:-2]]
        self.blocks = nn.ModuleList(
            DownBlock(i, o, norm=norm, activation=activation)
            for i, o in zip(inputs, widths[:-1], strict=True)
        )
        conv = SNConv2d if spectral else nn.Conv2d
        self.attention = attention_after(attention, widths, conv=conv, second_order=second_order)
        self.conv = conv(widths[-2], widths[-1], 3, 1, 1)
        self.norm = nn.BatchNorm2d(widths[-1], BN_EPS) if norm == "batch" else nn.Identity()
        head = Spectral() if spectral else None
        self.head = ProjectionHead(widths[-1], num_classes=num_classes, spectral=head)
        init_weights(self)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.through_blocks(x)
        h = self.activation(self.norm(self.conv(x))).sum((2, 3))  # [N, C]
        return self.head(h, labels)
