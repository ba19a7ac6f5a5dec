"""`largegan::conv` and `largegan::conv_weight`: a convolution and the gradient of its weights.

PyTorch's own second derivative of a convolution computes the weights' part as a convolution
whose kernel is as large as the image. Here each derivative is a convolution, a transposed one or
the gradient of the weights, which libraries are fast at.
"""

import torch
from torch import Tensor

from largegan.ops.runtime import choice
from largegan.ops.runtime.layout import layout
from largegan.ops.runtime.registering import needed, operator


def convolved(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None,
    stride,
    padding,
    transposed: bool,
    output_padding,
    groups: int,
) -> Tensor:
    """A convolution or a transposed one, under autocast in its type; numbers stand for pairs."""
    x, w = _autocast(x, w)
    pairs = _pair(stride), _pair(padding), transposed, _pair(output_padding)
    y = (convolution if choice.plain() else conv)(x, w, *pairs, groups)
    return y if bias is None else y + bias.to(y.dtype)[:, None, None]


def convolution(
    x: Tensor, w: Tensor, stride, padding, transposed, output_padding, groups
) -> Tensor:
    """PyTorch's own, in any memory layout."""
    return torch.ops.aten.convolution(
        x, w, None, stride, padding, [1, 1], transposed, output_padding, groups
    )


@operator("conv")
def conv(
    x: Tensor,
    w: Tensor,
    stride: list[int],
    padding: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> Tensor:
    """A convolution or a transposed one; channels_last if x or w is."""
    y = convolution(x, w, stride, padding, transposed, output_padding, groups)
    return y.contiguous(memory_format=layout(x, w))


@conv.register_fake
def _(x, w, stride, padding, transposed, output_padding, groups):
    y = convolution(x, w, stride, padding, transposed, output_padding, groups)
    return torch.empty_like(y, memory_format=layout(x, w))


@operator("conv_weight_gradient")
def conv_weight(
    dy: Tensor,
    x: Tensor,
    shape: list[int],
    stride: list[int],
    padding: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> Tensor:
    """The gradient of `conv`'s weights `shape`; bilinear in dy and x, laid out as they are."""
    w = x.new_empty(()).expand(shape)  # only its shape is read
    dw = torch.ops.aten.convolution_backward(
        dy, x, w, None, stride, padding, [1, 1], transposed, output_padding, groups,
        [False, True, False],
    )[1]  # fmt: skip
    return dw.contiguous(memory_format=layout(dy, x))


@conv_weight.register_fake
def _(dy, x, shape, stride, padding, transposed, output_padding, groups):
    form = layout(dy, x)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=form)


def _keep(ctx, inputs, output) -> None:
    x, w, *ctx.arguments = inputs
    ctx.out = output.shape[2:]
    ctx.save_for_backward(x, w)


def _gradients(ctx, dy: Tensor):
    x, w = ctx.saved_tensors
    # As the result was: else one gradient in the other layout makes all behind it so.
    dy, dx = dy.contiguous(memory_format=layout(x, w)), None
    if needed(ctx, 0):
        dx = _input_gradient(dy, w, x.shape[2:], ctx.arguments)
        if layout(x) is torch.channels_last:  # which neither dy nor w shows if they are slim
            dx = dx.contiguous(memory_format=torch.channels_last)
    dw = conv_weight(dy, x, w.shape, *ctx.arguments) if needed(ctx, 1) else None
    return dx, dw, None, None, None, None, None


def _input_gradient(dy: Tensor, w: Tensor, size, arguments) -> Tensor:
    """The adjoint in x: the other kind of convolution, back to `size`."""
    stride, padding, transposed, _, groups = arguments
    extra = [0, 0]
    if not transposed:  # what a stride did not reach at the end of the image
        reached = [
            (n - 1) * s - 2 * p + k
            for n, s, p, k in zip(dy.shape[2:], stride, padding, w.shape[2:], strict=True)
        ]
        extra = [n - r for n, r in zip(size, reached, strict=True)]
    return conv(dy, w, stride, padding, not transposed, extra, groups)


def _keep_weight(ctx, inputs, output) -> None:
    dy, x, ctx.shape, *ctx.arguments = inputs
    ctx.save_for_backward(dy, x)


def _gradients_of_weight(ctx, ddw: Tensor):
    dy, x = ctx.saved_tensors
    ddy = conv(x, ddw, *ctx.arguments) if needed(ctx, 0) else None
    dx = _input_gradient(dy, ddw, x.shape[2:], ctx.arguments) if needed(ctx, 1) else None
    return ddy, dx, None, None, None, None, None, None


conv.register_autograd(_gradients, setup_context=_keep)
conv_weight.register_autograd(_gradients_of_weight, setup_context=_keep_weight)


def _autocast(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """As PyTorch's convolutions: in the autocast type where one is on, else in that of x."""
    kind = x.device.type
    on = torch.is_autocast_enabled(kind) and x.dtype != torch.float64
    dtype = torch.get_autocast_dtype(kind) if on else x.dtype
    return x.to(dtype), w.to(dtype)


def _pair(value) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)
