"""Where an activation was: its slopes, from its result or from two bits an element.

The bits are 1 (below zero) and 2 (clamped). Four neighboring channels share a byte, `[N, H, W,
C / 4]`, where kernels read 16 bytes of channels at once; else `[N, C, H, W]`, laid out like the
activation, has a byte for each.
"""

import torch
from torch import Tensor

from largegan.ops.bias_act.activations import Activation
from largegan.ops.bias_act.leaky import Leaky
from largegan.ops.runtime.layout import layout, vector


def piecewise_linear(act: Activation) -> Leaky | None:
    """The activation as kernels have it; None if it is a smooth one, or turns signs around."""
    if act.name not in ("linear", "relu", "lrelu") or act.gain <= 0:
        return None
    if act.name != "linear" and act.alpha < 0:
        return None
    clamp = -1.0 if act.clamp is None else act.clamp
    return Leaky(1.0 if act.name == "linear" else act.alpha, act.gain, clamp)


def bits_of(act: Leaky, x: Tensor) -> Tensor:
    """The bits of the activation of x, in the layout of x."""
    bits = act.flags(x).contiguous(memory_format=layout(x))
    if vector(x) == 1:
        return bits
    quads = bits.permute(0, 2, 3, 1).unflatten(3, (-1, 4))  # [N, H, W, C / 4, 4]
    places = torch.tensor([1, 4, 16, 64], dtype=torch.uint8, device=x.device)
    return (quads * places).sum(4, dtype=torch.uint8)


def slopes_from(act: Leaky, kept: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """`shape` `[N, C, H, W]`: the slopes of the activation that left `kept`, bits or a result."""
    if kept.dtype != torch.uint8:
        return act.slopes_of(kept, dtype)
    return act.slopes_at(_unpacked(kept) if kept.shape != shape else kept, dtype)


def empty_bits(x: Tensor, shape: torch.Size) -> Tensor:
    """Memory for the bits of an activation of `shape` `[N, C, H, W]`, type and layout of x."""
    n, c, h, w = shape
    if vector(x) > 1:
        return x.new_empty((n, h, w, c // 4), dtype=torch.uint8)
    form = layout(x)
    return torch.empty(shape, dtype=torch.uint8, device=x.device, memory_format=form)


def layout_of(kept: Tensor, shape: torch.Size) -> torch.memory_format:
    """The layout of the activation of `shape` that left this."""
    packed = kept.dtype == torch.uint8 and kept.shape != shape
    return torch.channels_last if packed else layout(kept)


def _unpacked(bits: Tensor) -> Tensor:
    places = torch.tensor([0, 2, 4, 6], dtype=torch.uint8, device=bits.device)
    return (bits[..., None] >> places).flatten(3).permute(0, 3, 1, 2)
