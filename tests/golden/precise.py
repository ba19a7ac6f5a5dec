"""Running a case in float64, where only what the peer computes is left to differ.

Networks with kinks (ReLU) have gradients that a rounding error can change by percents; the peer's
own float64 run lies within an eighth of every tolerance.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from tests.golden.goldcheck import Case


@contextmanager
def double() -> Iterator[None]:
    """Within it tensors and networks are made in float64."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def read(case: Case, name: str) -> Tensor:
    """An input, in the current default type where it is not whole numbers."""
    tensor = case.input(name)
    return tensor.to(torch.get_default_dtype()) if tensor.is_floating_point() else tensor


def read_image(case: Case, name: str) -> Tensor:
    """A uint8 input in [-1, 1], in the current default type."""
    return case.input(name).to(torch.get_default_dtype()) / 127.5 - 1
