"""What the listings share: prefixes, plain layers, and tensors for them."""

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


def under(prefix: str, shapes: Shapes) -> Shapes:
    return {f"{prefix}{name}": shape for name, shape in shapes.items()}


def plain(inputs: int, outputs: int, *kernel: int, bias: bool = True) -> Shapes:
    """A linear layer, or with `kernel` a convolution."""
    shapes: Shapes = {"weight": (outputs, inputs, *kernel)}
    return shapes | ({"bias": (outputs,)} if bias else {})


def tensors(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Small random numbers; variances, singular values and norms' gains are near 1."""
    draw, found = torch.Generator().manual_seed(seed), {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            found[name] = torch.tensor(3)
            continue
        found[name] = 0.1 * torch.randn(shape, generator=draw)
        last = name.rpartition(".")[2]
        if last in ("stored_var", "running_var", "running_vars", "magnitude_ema", "sv0", "sv1"):
            found[name] = 1 + found[name].abs()
        elif last in ("gain", "weight") and len(shape) == 1:
            found[name] = 1 + found[name]
        elif last in ("u0", "u1", "weight_u", "weight_v"):
            found[name] = torch.nn.functional.normalize(found[name], dim=-1)
    return found
