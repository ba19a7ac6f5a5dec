"""Convolutions with gradients of any order: `conv2d`, `conv_transpose2d`, `conv2d_resample`.

PyTorch's own second derivative of a convolution computes the weights' part as a convolution
whose kernel is as large as the image. Here each derivative is a convolution, a transposed one or
the gradient of the weights, which libraries are fast at.
"""

import torch
from torch import Tensor

from largegan.ops.fir import (
    Taps,
    _padding,
    downsampling_padding,
    upfirdn2d,
    upsampling_padding,
)
from largegan.ops.fir_activation import act_fir
from largegan.ops.registering import layout, needed

IDENTITY = (1.0,)


def conv2d(x: Tensor, w: Tensor, bias=None, *, stride=1, padding=0, groups=1) -> Tensor:
    """`[N, I, H, W]`, `[O, I / groups, h, w]` -> `[N, O, ...]`, as `F.conv2d`."""
    x, w = _autocast(x, w)
    y = conv(x, w, _pair(stride), _pair(padding), False, [0, 0], groups)
    return y if bias is None else y + bias.to(y.dtype)[:, None, None]


def conv_transpose2d(
    x: Tensor, w: Tensor, bias=None, *, stride=1, padding=0, output_padding=0, groups=1
) -> Tensor:
    """`[N, I, H, W]`, `[I, O / groups, h, w]` -> `[N, O, ...]`, as `F.conv_transpose2d`."""
    x, w = _autocast(x, w)
    y = conv(x, w, _pair(stride), _pair(padding), True, _pair(output_padding), groups)
    return y if bias is None else y + bias.to(y.dtype)[:, None, None]


def conv2d_resample(
    x: Tensor,
    w: Tensor,
    f: Taps | None = None,
    *,
    up: int = 1,
    down: int = 1,
    padding=0,
    groups: int = 1,
    flip_weight: bool = True,
    flip_filter: bool = False,
) -> Tensor:
    """Up-sample by `f`, convolve with `w` `[O, I / groups, h, w]`, down-sample by `f`.

    `padding` is that of the convolution, counted on the up-sampled image. `flip_weight=True` is
    the usual correlation of `conv2d`, False convolves. All three are linear and shift-invariant
    on an image that goes on in zeros, so they are done in the cheapest order.
    """
    f = IDENTITY if f is None else f
    pads = _padding(padding)
    pads = upsampling_padding(f, up, pads) if up > 1 else pads
    pads = downsampling_padding(f, down, pads) if down > 1 else pads
    if up > 1:
        x, rest = _before_up_filter(x, w, f, up, pads, groups, flip_weight)
        x = upfirdn2d(x, f, **rest, flip=flip_filter)
        return upfirdn2d(x, f, down=down, flip=flip_filter) if down > 1 else x
    w = w if flip_weight else w.flip(2, 3)
    if down > 1 and w.shape[2:] == (1, 1):
        return conv2d(upfirdn2d(x, f, down=down, padding=pads, flip=flip_filter), w, groups=groups)
    if down > 1:
        x = upfirdn2d(x, f, padding=pads, flip=flip_filter)
        return conv2d(x, w, stride=down, groups=groups)
    if pads[0] == pads[1] >= 0 and pads[2] == pads[3] >= 0:
        return conv2d(x, w, padding=(pads[2], pads[0]), groups=groups)
    return conv2d(upfirdn2d(x, IDENTITY, padding=pads), w, groups=groups)


def conv2d_before_fir(
    x: Tensor, w: Tensor, f: Taps | None, *, up: int, padding, groups: int = 1, flip_weight: bool
) -> tuple[Tensor, dict]:
    """`conv2d_resample` up to its filter, and the arguments for `fir_act` to go on with."""
    if up == 1:
        y = conv2d_resample(x, w, padding=padding, groups=groups, flip_weight=flip_weight)
        return y, {"f": IDENTITY}
    f = IDENTITY if f is None else f
    pads = upsampling_padding(f, up, _padding(padding))
    y, rest = _before_up_filter(x, w, f, up, pads, groups, flip_weight)
    rest["fir_gain"] = rest.pop("gain")
    return y, {"f": f, **rest}


def act_conv2d_down(
    x: Tensor, w: Tensor, f: Taps, *, down: int, padding=0, bias=None, act, gain, clamp
) -> Tensor:
    """`conv2d_resample(bias_act(x, bias, ...), w, f, down=down)`, activation and filter in one."""
    pads = downsampling_padding(f, down, _padding(padding))
    x = act_fir(x, f, padding=pads, bias=bias, act=act, gain=gain, clamp=clamp)
    return conv2d(x, w, stride=down)


def _before_up_filter(x, w, f, up, pads, groups, flip_weight) -> tuple[Tensor, dict]:
    """Convolution at the low resolution, or a transposed one; what `upfirdn2d` has left to do."""
    kh, kw = w.shape[2:]
    if kh == kw == 1:
        return conv2d(x, w, groups=groups), {"up": up, "padding": pads, "gain": up**2}
    w = w.flip(2, 3) if flip_weight else w
    o, i = w.shape[:2]
    w = w.reshape(groups, o // groups, i, kh, kw).transpose(1, 2).flatten(0, 1)
    y = conv_transpose2d(x, w, stride=up, groups=groups)
    # A transposed convolution is a full one, and ends at the last sample instead of before the
    # next: what is left of the padding belongs to the filter.
    left, right, top, bottom = pads
    rest = [left - kw + 1, right - kw + up, top - kh + 1, bottom - kh + up]
    return y, {"padding": rest, "gain": up**2}


@torch.library.custom_op("largegan::conv", mutates_args=())
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
    y = torch.ops.aten.convolution(
        x, w, None, stride, padding, [1, 1], transposed, output_padding, groups
    )
    return y.contiguous(memory_format=layout(x, w))


@conv.register_fake
def _(x, w, stride, padding, transposed, output_padding, groups):
    y = torch.ops.aten.convolution(
        x, w, None, stride, padding, [1, 1], transposed, output_padding, groups
    )
    return torch.empty_like(y, memory_format=layout(x, w))


@torch.library.custom_op("largegan::conv_weight", mutates_args=())
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
    """The gradient of `conv`'s weights `shape`; bilinear in dy and x."""
    w = x.new_empty(()).expand(shape)  # only its shape is read
    dw = torch.ops.aten.convolution_backward(
        dy, x, w, None, stride, padding, [1, 1], transposed, output_padding, groups,
        [False, True, False],
    )[1]  # fmt: skip
    return dw.contiguous()


@conv_weight.register_fake
def _(dy, x, shape, stride, padding, transposed, output_padding, groups):
    return x.new_empty(shape)


def _keep(ctx, inputs, output) -> None:
    x, w, *ctx.arguments = inputs
    ctx.out = output.shape[2:]
    ctx.save_for_backward(x, w)


def _gradients(ctx, dy: Tensor):
    x, w = ctx.saved_tensors
    dx = _input_gradient(dy, w, x.shape[2:], ctx.arguments) if needed(ctx, 0) else None
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
