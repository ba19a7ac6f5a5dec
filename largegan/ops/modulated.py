"""`modulated_conv2d`: a convolution whose input channels every image scales for itself."""

import torch
from torch import Tensor

from largegan.ops import backend, pointwise_kernel
from largegan.ops.conv import conv2d_before_fir, conv2d_resample
from largegan.ops.fir_activation import fir_act
from largegan.ops.registering import layout, needed


def modulated_conv2d(
    x: Tensor,
    w: Tensor,
    s: Tensor,
    *,
    demodulate: bool = True,
    gain: Tensor | float = 1.0,
    noise: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding=0,
    f=None,
    flip_weight: bool = True,
    form: str = "auto",
) -> Tensor:
    """`x` `[N, I, H, W]`, `w` `[O, I, h, w]`, `s` `[N, I]` -> `[N, O, ...]`.

    Weights of image n are `w[o, i] s[n, i]`, and with `demodulate` each output channel's weights
    have norm 1 (Karras et al., 2020, Eq. 1 and 3). `noise` is added to the result and must
    broadcast with it. `form` chooses how: "activations" scales what goes in and comes out of one
    shared convolution, "weights" builds every image's weights and convolves in groups. They agree
    up to rounding; "auto" takes "activations".
    """
    if form not in ("auto", "activations", "weights"):
        raise ValueError(f'form is {form!r}: give "auto", "activations" or "weights"')
    how = {"f": f, "up": up, "down": down, "padding": padding, "flip_weight": flip_weight}
    compute = _weights if form == "weights" else _activations
    y = compute(x, w, s, demodulate, gain, how)
    return y if noise is None else y + noise


def modulated_conv2d_act(
    x: Tensor,
    w: Tensor,
    s: Tensor,
    *,
    up: int = 1,
    padding=0,
    f=None,
    flip_weight: bool = True,
    noise: Tensor | None = None,
    noise_strength: Tensor | None = None,
    bias: Tensor | None = None,
    act: str = "lrelu",
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """`modulated_conv2d` and, in one pass with its filter, demodulation, noise, bias, activation.

    The last six arguments are those of `fir_act`.
    """
    y, filtering = conv2d_before_fir(
        modulate(x, s), w.to(x.dtype), f, up=up, padding=padding, flip_weight=flip_weight
    )
    beside = {"noise": noise, "noise_strength": noise_strength, "bias": bias}
    beside["scale"] = demodulation(w, s)
    return fir_act(y, **filtering, **beside, act=act, gain=gain, clamp=clamp)


def demodulation(w: Tensor, s: Tensor) -> Tensor:
    """1 / norm of every image's weights, `[N, O]`; one small matrix product."""
    return (s.square() @ w.square().sum([2, 3]).t() + 1e-8).rsqrt()


def _activations(x, w, s, demodulate, gain, how) -> Tensor:
    y = conv2d_resample(modulate(x, s * gain), w.to(x.dtype), **how)
    return y * demodulation(w, s)[:, :, None, None].to(x.dtype) if demodulate else y


def _weights(x, w, s, demodulate, gain, how) -> Tensor:
    n, channels = x.shape[:2]
    per_image = w * (s * gain)[:, None, :, None, None]  # [N, O, I, h, w]
    if demodulate:
        per_image = per_image * demodulation(w, s)[:, :, None, None, None]
    x = x.reshape(1, n * channels, *x.shape[2:])
    y = conv2d_resample(x, per_image.flatten(0, 1).to(x.dtype), groups=n, **how)
    return y.reshape(n, len(w), *y.shape[2:])


def modulate(x: Tensor, s: Tensor) -> Tensor:
    """`[N, C, H, W]` times `s` `[N, C]`, in x's type; gradients of any order.

    A kernel finds the gradients of both in one pass over the image.
    """
    return modulated(x, s) if backend.usable(x) else x * s[:, :, None, None].to(x.dtype)


@torch.library.custom_op("largegan::modulate", mutates_args=())
def modulated(x: Tensor, s: Tensor) -> Tensor:
    x = x.contiguous(memory_format=layout(x))
    y = pointwise_kernel.modulate(x, s) if backend.usable(x) else None
    return x * s[:, :, None, None].to(x.dtype) if y is None else y


@modulated.register_fake
def _(x, s):
    return torch.empty_like(x, memory_format=layout(x))


@torch.library.custom_op("largegan::modulate_grad", mutates_args=())
def modulated_grad(dy: Tensor, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """(dx, ds) in one pass, for backward passes of which no derivative is wanted."""
    x = x.contiguous(memory_format=layout(x))
    found = pointwise_kernel.modulate_grad(dy, x, s) if backend.usable(x) else None
    if found is None:
        dy = dy.contiguous(memory_format=layout(x))
        exact = torch.promote_types(x.dtype, torch.float32)
        found = dy * s[:, :, None, None].to(x.dtype), (dy.to(exact) * x).sum([2, 3])
    return found[0], found[1].to(s.dtype)


@modulated_grad.register_fake
def _(dy, x, s):
    return torch.empty_like(x, memory_format=layout(x)), s.new_empty(s.shape)


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _gradients(ctx, dy: Tensor):
    x, s = ctx.saved_tensors
    styled = needed(ctx, 1)
    if styled and not torch.is_grad_enabled():
        return modulated_grad(dy, x, s)
    dx = modulated(dy, s) if needed(ctx, 0) else None
    exact = torch.promote_types(x.dtype, torch.float32)
    return dx, (dy.to(exact) * x).sum([2, 3]).to(s.dtype) if styled else None


modulated.register_autograd(_gradients, setup_context=_keep)
