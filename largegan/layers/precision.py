"""Which parts of a network may use sixteen bits: types said aloud, not guessed by autocast."""

import torch
from torch import Tensor


def compute_dtype(x: Tensor) -> torch.dtype:
    """What convolutions on `x` should compute in: autocast's type inside autocast, else x's own."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def exact(x: Tensor) -> torch.autocast:
    """`with exact(x):` autocast changes no types: every tensor keeps the one it was given."""
    return torch.autocast(x.device.type, enabled=False)
