"""Small constants on a device: copied to a GPU once, because each copy waits for all before it."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any

import torch
from torch import Tensor

_held: list[Tensor] = []  # recorded CUDA graphs read their memory for as long as they are replayed


def kept_on_gpu(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`make(*arguments, device=, dtype=)`; its results on a GPU are kept: do not write to them.

    A compiled graph makes its own.
    """
    kept = lru_cache(maxsize=256)(make)

    @wraps(make)
    def found(*arguments: Any, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
        if device.type != "cuda" or torch.compiler.is_compiling():
            return make(*arguments, device=device, dtype=dtype)
        value = kept(*arguments, device=device, dtype=dtype)
        if torch.cuda.is_current_stream_capturing():
            _held.append(value)
        return value

    return found


@kept_on_gpu
def constant(values: tuple, *, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    """A tensor of numbers, or of tuples of them."""
    return torch.tensor(values, device=device, dtype=dtype)
