"""PyTorch's own convolutions, whose second derivatives are slow on a GPU."""

import torch.nn.functional as F
from torch import Tensor


def conv2d(x: Tensor, w: Tensor, bias=None, *, stride=1, padding=0, groups=1) -> Tensor:
    """The specification of `ops.conv2d`."""
    bias = None if bias is None else bias.to(x.dtype)
    return F.conv2d(x, w.to(x.dtype), bias, stride, padding, groups=groups)


def conv_transpose2d(
    x: Tensor, w: Tensor, bias=None, *, stride=1, padding=0, output_padding=0, groups=1
) -> Tensor:
    """The specification of `ops.conv_transpose2d`."""
    bias = None if bias is None else bias.to(x.dtype)
    return F.conv_transpose2d(x, w.to(x.dtype), bias, stride, padding, output_padding, groups)
