"""Pre-activation residual blocks of WGAN-GP, SNGAN, SAGAN and BigGAN (Gulrajani et al., 2017, and
after them). Nearest up-sampling, average-pool down-sampling."""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from largegan.layers.cond_norm import activated
from largegan.layers.fold import conv_down, up_conv

Activation = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a network's blocks are made of.

    `fold` computes resampling and convolution as one (`layers.fold`): the same numbers.
    """

    conv: Callable[..., nn.Conv2d]
    activation: Activation
    norm: Callable[[int], nn.Module] = nn.Identity
    fold: bool = False


class UpBlock(nn.Module):
    """norm - act - up - 3x3 - norm - act - 3x3, plus up - 1x1: `[N, C, H, W]` -> twice the size."""

    def __init__(self, inputs: int, outputs: int, parts: Parts):
        super().__init__()
        norm, conv = parts.norm, parts.conv
        self.activation, self.fold = parts.activation, parts.fold
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1 = conv(inputs, outputs, 3, 1, 1)
        self.conv2 = conv(outputs, outputs, 3, 1, 1)
        self.shortcut = conv(inputs, outputs, 1)

    def forward(self, x: Tensor, *condition: Tensor) -> Tensor:
        h = activated(self.norm1, x, *condition, activation=self.activation)
        h = up_conv(self.conv1, h, fold=self.fold)  # [N, C', 2H, 2W]
        h = self.conv2(activated(self.norm2, h, *condition, activation=self.activation))
        return h + up_conv(self.shortcut, x, fold=self.fold)


class FirstBlock(nn.Module):
    """3x3 - act - 3x3 - pool, plus pool - 1x1: images are not activated before the first layer.

    `wide` says whose width is between the two: the output's, or the input's.
    """

    def __init__(self, inputs: int, outputs: int, parts: Parts, *, wide: bool = True):
        super().__init__()
        norm, conv = parts.norm, parts.conv
        self.activation, self.fold = parts.activation, parts.fold
        hidden = outputs if wide else inputs
        self.norm1, self.shortcut_norm = norm(hidden), norm(inputs)
        self.conv1 = conv(inputs, hidden, 3, 1, 1)
        self.conv2 = conv(hidden, outputs, 3, 1, 1)
        self.shortcut = conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.activation(self.norm1(self.conv1(x)))
        x = self.shortcut_norm(F.avg_pool2d(x, 2))
        return conv_down(self.conv2, h, fold=self.fold) + self.shortcut(x)  # [N, C', H/2, W/2]


class DownBlock(nn.Module):
    """norm - act - 3x3 - norm - act - 3x3 (- pool), plus norm - 1x1 (- pool) or the input itself.

    `activated_shortcut` feeds the shortcut with act(x) instead of x. `wide` says whose width is
    between the two: the output's, or the input's.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        parts: Parts,
        *,
        down: bool,
        activated_shortcut: bool,
        wide: bool = True,
    ):
        super().__init__()
        norm, conv = parts.norm, parts.conv
        self.down, self.activation, self.fold = down, parts.activation, parts.fold
        self.activated_shortcut = activated_shortcut
        hidden = outputs if wide else inputs
        self.norm1, self.norm2 = norm(inputs), norm(hidden)
        self.conv1 = conv(inputs, hidden, 3, 1, 1)
        self.conv2 = conv(hidden, outputs, 3, 1, 1)
        learned = down or inputs != outputs
        self.shortcut_norm = norm(inputs) if learned else nn.Identity()
        self.shortcut = conv(inputs, outputs, 1) if learned else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(self.activation(self.norm1(x)))
        h = self.activation(self.norm2(h))
        x = self.shortcut_norm(self.activation(x) if self.activated_shortcut else x)
        if self.down and self.fold:
            return conv_down(self.conv2, h) + conv_down(self.shortcut, x)  # [N, C', H/2, W/2]
        h = self.conv2(h) + self.shortcut(x)
        return F.avg_pool2d(h, 2) if self.down else h
