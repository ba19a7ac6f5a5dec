"""Convolutions with gradients of any order: `conv2d`, `conv_transpose2d`."""

from torch import Tensor

from largegan.ops.conv.operators import convolved

__all__ = ["conv2d", "conv_transpose2d"]


def conv2d(x: Tensor, w: Tensor, bias=None, *, stride=1, padding=0, groups=1) -> Tensor:
    """`[N, I, H, W]`, `[O, I / groups, h, w]` -> `[N, O, ...]`, as `F.conv2d`."""
    return convolved(x, w, bias, stride, padding, False, 0, groups)


def conv_transpose2d(
    x: Tensor, w: Tensor, bias=None, *, stride=1, padding=0, output_padding=0, groups=1
) -> Tensor:
    """`[N, I, H, W]`, `[I, O / groups, h, w]` -> `[N, O, ...]`, as `F.conv_transpose2d`."""
    return convolved(x, w, bias, stride, padding, True, output_padding, groups)
