"""Small constants on a device: copied to a GPU once, because each copy waits for all before it."""

from functools import lru_cache

import torch
from torch import Tensor


def constant(values: tuple, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor of numbers, or of tuples of them; nobody may write to it."""
    return (_kept if device.type == "cuda" else _made)(values, device, dtype)


def _made(values: tuple, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    return torch.tensor(values, device=device, dtype=dtype)


_kept = lru_cache(maxsize=1024)(_made)
