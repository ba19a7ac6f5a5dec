"""Convolutions with gradients of any order: `conv2d`, `conv_transpose2d`."""

from torch import Tensor

from largegan.ops.conv.operators import convolved

__all__ = ["conv2d", "conv_transpose2d"]


def conv2d(x: Tensor, w: Tensor, bias=None, *, stride=1, padding=0, groups=1) -> Tensor:
    """Convolution, as `F.conv2d`: `[N, I, H, W]`, `[O, I / groups, h, w]` -> `[N, O, ...]`."""
    return convolved(x, w, bias, stride, padding, False, 0, groups)


def conv_transpose2d(
    x: Tensor, w: Tensor, bias=None, *, stride=1, padding=0, output_padding=0, groups=1
) -> Tensor:
    """Transposed convolution, as `F.conv_transpose2d`, with w `[I, O / groups, h, w]`."""
    return convolved(x, w, bias, stride, padding, True, output_padding, groups)
