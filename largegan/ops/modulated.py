"""`modulated_conv2d`: a convolution whose input channels every image scales for itself."""

from torch import Tensor

from largegan.ops.conv import conv2d_resample


def modulated_conv2d(
    x: Tensor,
    w: Tensor,
    s: Tensor,
    *,
    demodulate: bool = True,
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
    y = (
        _weights(x, w, s, demodulate, how)
        if form == "weights"
        else (_activations(x, w, s, demodulate, how))
    )
    return y if noise is None else y + noise


def demodulation(w: Tensor, s: Tensor) -> Tensor:
    """1 / norm of every image's weights, `[N, O]`; one small matrix product."""
    return (s.square() @ w.square().sum([2, 3]).t() + 1e-8).rsqrt()


def _activations(x, w, s, demodulate, how) -> Tensor:
    y = conv2d_resample(x * s[:, :, None, None].to(x.dtype), w.to(x.dtype), **how)
    return y * demodulation(w, s)[:, :, None, None].to(x.dtype) if demodulate else y


def _weights(x, w, s, demodulate, how) -> Tensor:
    n, channels = x.shape[:2]
    per_image = w * s[:, None, :, None, None]  # [N, O, I, h, w]
    if demodulate:
        per_image = per_image * demodulation(w, s)[:, :, None, None, None]
    x = x.reshape(1, n * channels, *x.shape[2:])
    y = conv2d_resample(x, per_image.flatten(0, 1).to(x.dtype), groups=n, **how)
    return y.reshape(n, len(w), *y.shape[2:])
