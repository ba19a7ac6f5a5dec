"""A convolution with weights of its own for every image (Karras et al., 2020, Eq. 1 and 3)."""

import torch
from torch import Tensor

from largegan.ops.bias_act.reference import bias_act
from largegan.ops.conv_resample.reference import conv2d_resample


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
    """The specification of `ops.modulated_conv2d`, image by image; all values of `form` agree."""
    weights = w * s[:, None, :, None, None]  # Eq. 1: [N, O, I, h, w]
    if demodulate:  # Eq. 3
        weights = weights * (weights.square().sum([2, 3, 4], keepdim=True) + 1e-8).rsqrt()
    weights = weights * gain
    how = {"up": up, "down": down, "padding": padding, "flip_weight": flip_weight}
    images = zip(x.split(1), weights.to(x.dtype), strict=True)
    y = torch.cat([conv2d_resample(image, weight, f, **how) for image, weight in images])
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
    """The specification of `ops.modulated_conv2d_act`."""
    added = None if noise is None else (noise.detach() * noise_strength).to(x.dtype)
    how = {"up": up, "padding": padding, "f": f, "flip_weight": flip_weight}
    y = modulated_conv2d(x, w, s, noise=added, **how)
    return bias_act(y, bias, act=act, gain=gain, clamp=clamp)
