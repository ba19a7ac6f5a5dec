"""`filtered_lrelu`: an activation between two filters, so that it adds no frequency that aliases
(Karras et al., 2021, StyleGAN3, section 3.2).

On a GPU it is `kernels/filtered_lrelu.cu`, which is also its backward pass and the derivative of
that: the adjoint of "filter, slopes, filter" is the same with the filters exchanged. Filters that
do not separate, and factors other than 1, 2 and 4, are `fir_act` and `upfirdn2d`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from largegan.ops import filtered_kernel
from largegan.ops.activation import ROOT2, bias_act, piecewise_linear
from largegan.ops.constants import SANDWICH, Sandwich
from largegan.ops.fir import Taps, fir, resampling, taps, upfirdn2d
from largegan.ops.fir_activation import fir_act
from largegan.ops.registering import layout, needed

IDENTITY = (1.0,)


def filtered_lrelu(
    x: Tensor,
    fu: Taps | None,
    fd: Taps | None,
    b: Tensor | None = None,
    *,
    up: int = 1,
    down: int = 1,
    padding=0,
    gain: float = ROOT2,
    slope: float = 0.2,
    clamp: float | None = None,
    flip: bool = False,
) -> Tensor:
    """`[N, C, H, W]` -> `[N, C, (up H + top + bottom - taps of fu - taps of fd + 2) / down, ...]`.

    Adds `b` `[C]`, up-samples by `fu`, applies a leaky ReLU of `slope`, times `gain`, within
    `clamp`, and down-samples by `fd`. `padding` is counted at the high resolution, in front of the
    first filter; None is no filter. Up-sampling has the gain that zero insertion loses. Gradients
    of any order go to `x` and `b`.
    """
    if fu is fd is None and up == down == 1 and padding == 0:
        return bias_act(x, b, act="lrelu", alpha=slope, gain=gain, clamp=clamp)
    fu, fd = IDENTITY if fu is None else fu, IDENTITY if fd is None else fd
    leaky = piecewise_linear("lrelu", slope, gain, clamp)
    if leaky is not None:
        first = resampling(fu, up=up, padding=padding, flip=flip, gain=float(up**2))
        constants = Sandwich(first, resampling(fd, down=down, flip=flip), leaky)
        if fused(x, constants):
            wanted = x.requires_grad or (b is not None and b.requires_grad)
            keep = torch.is_grad_enabled() and wanted
            return between_filters(x, b, keep, *constants.arguments())[0]
    x = x if b is None else x + b.to(x.dtype)[:, None, None]
    up_sampling = {"up": up, "padding": padding, "fir_gain": up**2}
    act = {"act": "lrelu", "alpha": slope, "gain": gain, "clamp": clamp}
    x = fir_act(x, taps(fu, normalize=False, flip=flip), **up_sampling, **act)
    return upfirdn2d(x, fd, down=down, flip=flip)


def fused(x: Tensor, constants: Sandwich) -> bool:
    """Whether the operators below are to be used."""
    return filtered_kernel.usable(x, constants)


@torch.library.custom_op(
    "largegan::filtered_lrelu",
    mutates_args=(),
    schema=f"(Tensor x, Tensor? b, bool keep, {SANDWICH}) -> (Tensor, Tensor)",
)
def between_filters(x: Tensor, b: Tensor | None, keep: bool, *constants) -> tuple[Tensor, Tensor]:
    """(the result, the bits of the activation; none unless `keep`)."""
    s = Sandwich.of(*constants)
    if filtered_kernel.usable(x, s):
        bits = _empty_bits(x, s, keep)
        y = filtered_kernel.run(x, s, b, bits if keep else None, act=True)
        if y is not None:
            return y.contiguous(memory_format=layout(x)), bits
    z = x if b is None else (x + b[:, None, None]).to(x.dtype)
    z = fir(z, *s.first.arguments())
    y = fir(s.leaky(z), *s.second.arguments()).contiguous(memory_format=layout(x))
    return y, _packed(s.leaky.flags(z)) if keep else _empty_bits(x, s, keep)


@between_filters.register_fake
def _(x, b, keep, *constants):
    s = Sandwich.of(*constants)
    return _empty_result(x, s), _empty_bits(x, s, keep)


def _keep(ctx, inputs, output) -> None:
    x, b, _, *constants = inputs
    ctx.constants, ctx.size = Sandwich.of(*constants), x.shape[2:]
    ctx.bias_type = None if b is None else b.dtype
    ctx.save_for_backward(output[1])


def _gradients(ctx, dy: Tensor, _):
    (bits,) = ctx.saved_tensors
    dx = slopes_between(dy, bits, *ctx.constants.adjoint(ctx.size).arguments())
    db = None
    if ctx.bias_type is not None and needed(ctx, 1):
        exact = torch.promote_types(dy.dtype, torch.float32)
        db = dx.sum([0, 2, 3], dtype=exact).to(ctx.bias_type)
    return dx, db, *[None] * 18


between_filters.register_autograd(_gradients, setup_context=_keep)


@torch.library.custom_op(
    "largegan::filtered_slopes",
    mutates_args=(),
    schema=f"(Tensor x, Tensor bits, {SANDWICH}) -> Tensor",
)
def slopes_between(x: Tensor, bits: Tensor, *constants) -> Tensor:
    """x filtered, times the slopes of an activation that left these bits, filtered; linear in x."""
    s = Sandwich.of(*constants)
    if filtered_kernel.usable(x, s):
        y = filtered_kernel.run(x, s, bits=bits, act=False)
        if y is not None:
            return y.contiguous(memory_format=layout(x))
    z = fir(x, *s.first.arguments())
    flags = _unpacked(bits, z.shape[2])
    z = z * s.leaky.slopes(flags, z.shape, z.dtype)
    return fir(z, *s.second.arguments()).contiguous(memory_format=layout(x))


@slopes_between.register_fake
def _(x, bits, *constants):
    return _empty_result(x, Sandwich.of(*constants))


def _keep_bits(ctx, inputs, output) -> None:
    x, bits, *constants = inputs
    ctx.constants, ctx.size = Sandwich.of(*constants), x.shape[2:]
    ctx.save_for_backward(bits)


def _gradient_again(ctx, dy: Tensor):
    (bits,) = ctx.saved_tensors
    back = ctx.constants.adjoint(ctx.size).arguments()
    return slopes_between(dy, bits, *back), *[None] * 18


slopes_between.register_autograd(_gradient_again, setup_context=_keep_bits)


def _empty_result(x: Tensor, s: Sandwich) -> Tensor:
    shape = (*x.shape[:2], *s.sizes(x.shape[2:])[1])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout(x))


def _empty_bits(x: Tensor, s: Sandwich, keep: bool) -> Tensor:
    """`[N, C, rows / 4, columns]` of the middle image: a byte has four rows."""
    h, w = s.sizes(x.shape[2:])[0]
    return x.new_empty((*x.shape[:2], -(-h // 4), w) if keep else (0,), dtype=torch.uint8)


def _packed(flags: Tensor) -> Tensor:
    """Rows that the last byte lacks count as clamped."""
    flags = F.pad(flags, (0, 0, 0, -flags.shape[2] % 4), value=2)
    places = torch.tensor([1, 4, 16, 64], dtype=torch.uint8, device=flags.device)
    return (flags.unflatten(2, (-1, 4)) * places[:, None]).sum(3, dtype=torch.uint8)


def _unpacked(bits: Tensor, height: int) -> Tensor:
    places = torch.tensor([0, 2, 4, 6], dtype=torch.uint8, device=bits.device)
    return (bits[:, :, :, None] >> places[:, None]).flatten(2, 3)[:, :, :height]
