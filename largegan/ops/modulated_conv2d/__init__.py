"""`modulated_conv2d`: a convolution whose input channels every image scales for itself."""

from torch import Tensor

from largegan.ops.bias_act.activations import Activation
from largegan.ops.conv_resample.resample import conv2d_before_fir, conv2d_resample
from largegan.ops.fir_act.constants import Beside
from largegan.ops.fir_act.operators import fir_act
from largegan.ops.modulate import modulate

__all__ = ["modulated_conv2d", "modulated_conv2d_act"]
FORMS = ("auto", "activations", "weights")


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
    """Convolution whose input channels every image scales for itself.

    `x` `[N, I, H, W]`, `w` `[O, I, h, w]`, `s` `[N, I]` -> `[N, O, ...]`. Weights of image n are
    `w[o, i] s[n, i]`, and with `demodulate` each output channel's weights have norm 1 (Karras et
    al., 2020, Eq. 1 and 3); `gain`, after that, scales the input. `noise` is added to the result
    and must broadcast with it. `form` chooses how: "activations" scales what goes in and comes out
    of one shared convolution, "weights" builds every image's weights and convolves in groups. They
    agree up to rounding; "auto" takes "activations".
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}: give one of {', '.join(FORMS)}")
    how = {"f": f, "up": up, "down": down, "padding": padding, "flip_weight": flip_weight}
    y = (_weights if form == "weights" else _activations)(x, w, s, demodulate, gain, how)
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
    beside = Beside.of(demodulation(w, s), noise, noise_strength, bias)
    return fir_act(y, filtering, beside, Activation.of(act, None, gain, clamp))


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
