"""Whether a whole frame fits into memory: its cost is measured on a small image."""

import os

import psutil
import torch
from torch import Tensor, nn

from largegan.recipe import geometry_of

SHARE = 0.8  # of what is free; the rest is for convolution workspaces and for others


@torch.no_grad()
def bytes_per_pixel(net: nn.Module, *, channels: int, precision: str = "fp32") -> float:
    """What one more input pixel costs a forward pass at its widest layer."""
    device = next(net.parameters()).device
    side = max(128, geometry_of(net).multiple)
    x = torch.zeros(1, channels, side, side, device=device)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        peak = _cuda_peak(net, x) if device.type == "cuda" else _widest_layer(net, x)
    return peak / side**2


def _cuda_peak(net: nn.Module, x: Tensor) -> int:
    before = torch.cuda.memory_allocated(x.device)
    torch.cuda.reset_peak_memory_stats(x.device)
    net(x)
    return torch.cuda.max_memory_allocated(x.device) - before


def _widest_layer(net: nn.Module, x: Tensor) -> int:
    """Input and output of a layer, and as much again for the image that a block adds to."""
    peak = 0

    def look(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        nonlocal peak
        tensors = [t for t in (*inputs, output) if isinstance(t, Tensor)]
        peak = max(peak, 2 * sum(t.nbytes for t in tensors))

    leaves = [module for module in net.modules() if not list(module.children())]
    hooks = [leaf.register_forward_hook(look) for leaf in leaves]
    try:
        net(x)
    finally:
        for hook in hooks:
            hook.remove()
    return peak


def free_bytes(device: torch.device) -> int:
    """Memory that this process may still take."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    return psutil.virtual_memory().available // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def fits(size: tuple[int, int], cost: float, device: torch.device) -> bool:
    """Whether a frame of `size` at `cost` bytes a pixel does."""
    return size[0] * size[1] * cost < SHARE * free_bytes(device)
