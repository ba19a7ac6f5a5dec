"""Resampling folded into the 3 x 3 convolution next to it: the same map in 16/36 of the products.

Nearest up-sampling by 2 and then a 3 x 3 convolution is one transposed 4 x 4 convolution of stride
2; a 3 x 3 convolution and then an average pool of 2 is one 4 x 4 convolution of stride 2. Each tap
of the 4 x 4 kernel is a sum of taps of the 3 x 3 one, so weights, checkpoints and gradients are
those of the plain form, to any order, and the large tensor between the two never exists.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from largegan.layers.spectral_norm import SpectralNorm


def effective_weight(conv: nn.Conv2d) -> Tensor:
    """What the layer convolves with: its weight, or the spectrally normalized one."""
    return conv.normalized_weight() if isinstance(conv, SpectralNorm) else conv.weight


def up_conv(conv: nn.Conv2d, x: Tensor, *, fold: bool = True) -> Tensor:
    """`conv(nearest x2 of x)`: `[N, C, H, W]` -> `[N, C', 2H, 2W]`.

    `conv` is 3 x 3 with padding 1, or 1 x 1, which commutes with repeating pixels and so runs
    first, on a quarter of them.
    """
    if not fold:
        return conv(F.interpolate(x, scale_factor=2))
    if conv.kernel_size == (1, 1):
        return F.interpolate(conv(x), scale_factor=2)
    weight = effective_weight(conv)
    return F.conv_transpose2d(x, up_weight(weight), conv.bias, stride=2, padding=1)


def conv_down(conv: nn.Conv2d, x: Tensor, *, fold: bool = True) -> Tensor:
    """`average pool by 2 of conv(x)`: `[N, C, 2H, 2W]` -> `[N, C', H, W]`.

    `conv` is 3 x 3 with padding 1, or 1 x 1, which commutes with averaging and so runs after it.
    """
    if not fold:
        return F.avg_pool2d(conv(x), 2)
    if conv.kernel_size == (1, 1):
        return conv(F.avg_pool2d(x, 2))
    weight = effective_weight(conv)
    return F.conv2d(x, down_weight(weight), conv.bias, stride=2, padding=1)


def up_weight(weight: Tensor) -> Tensor:
    """`[out, in, 3, 3]` -> the transposed convolution's `[in, out, 4, 4]`."""
    taps = _along(_along(weight, -1, _spread), -2, _spread)
    return taps.transpose(0, 1)


def down_weight(weight: Tensor) -> Tensor:
    """`[out, in, 3, 3]` -> `[out, in, 4, 4]` for stride 2."""
    return _along(_along(weight, -1, _blur), -2, _blur)


def _along(weight: Tensor, dim: int, mix) -> Tensor:
    return torch.stack(mix(*weight.unbind(dim)), dim)


def _spread(a: Tensor, b: Tensor, c: Tensor) -> list[Tensor]:
    # Output 2i sees pixels i-1, i, i and output 2i+1 sees i, i, i+1. A transposed convolution of
    # stride 2 and padding 1 gives pixel i the taps 1 and 2 there, and its neighbors 3 and 0.
    return [c, b + c, a + b, a]


def _blur(a: Tensor, b: Tensor, c: Tensor) -> list[Tensor]:
    # The mean of the kernel and of the kernel one pixel further.
    return [a / 2, (a + b) / 2, (b + c) / 2, c / 2]
