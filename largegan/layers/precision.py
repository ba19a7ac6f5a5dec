"""Which parts of a network may use sixteen bits: types said aloud, not guessed by autocast."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from largegan.ops.runtime import backend


def compute_dtype(x: Tensor) -> torch.dtype:
    """What convolutions on `x` should compute in: autocast's type inside autocast, else x's own."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def exact(x: Tensor) -> AbstractContextManager:
    """`with exact(x):` autocast changes no types: every tensor keeps the one it was given.

    Exporters, who have autocast off, see plain operations, not a part with a precision of its own.
    """
    if backend.plain():
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)
