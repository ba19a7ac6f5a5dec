"""What a kernel's launch is made of, as plain data: made without a GPU, and tested without one."""

import struct
from typing import NamedTuple

import torch
from torch import Tensor

from largegan.ops.registering import layout

KINDS = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
THREADS = 256  # of a block, at most: what kernels are compiled for
LARGEST_GRID = 65535  # blocks along y and z


class Plan(NamedTuple):
    """One launch of `kernel(const Params p)`, the only kernel of its file.

    `source` is a file of largegan/ops/kernels/, `defines` its -D macros (all that decides which
    code is compiled), `shared` the bytes of dynamic shared memory. `params` are the bytes of the
    struct `Params`, which the kernel takes by value; addresses of tensors are inside, so whoever
    launches keeps the tensors alive until the launch is enqueued.
    """

    source: str
    defines: tuple[tuple[str, str], ...]
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    params: bytes


def defines(**values: int) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(int(value))) for name, value in values.items())


def pack(pointers, longs=(), ints=(), floats=()) -> bytes:
    """A struct of tensors' addresses (None: null), i64, int and float members, in this order."""
    addresses = [0 if t is None else t.data_ptr() for t in pointers]
    form = f"<{len(addresses)}Q{len(longs)}q{len(ints)}i{len(floats)}f"
    data = struct.pack(form, *addresses, *longs, *ints, *floats)
    return data + bytes(-len(data) % 8)


def is_planes(x: Tensor) -> bool:
    """Whether kernels see `[N, C, H, W]` as N C images of one channel: all but channels_last."""
    return layout(x) is torch.contiguous_format


def vector(x: Tensor) -> int:
    """Channels that a kernel reads at once from a dense x: 16 bytes of them, or 1."""
    fit = 16 // x.element_size()
    return 1 if is_planes(x) or x.shape[1] % fit or x.dtype not in KINDS else fit


def dense(x: Tensor, form: torch.memory_format) -> Tensor:
    """x without gaps, laid out in `form`, from an address that 16 bytes divide."""
    x = x.contiguous(memory_format=form)
    return x.clone() if x.data_ptr() % 16 else x


def block(vectors: int, rows: int) -> tuple[int, int, int]:
    """Threads for `vectors` words side by side (x) in each of so many rows (y, a power of two)."""
    x = vectors
    if vectors > 64:  # the largest divisor, so that no thread of x idles
        x = next((d for d in range(64, 15, -1) if vectors % d == 0), 32)
    y = 1
    while 2 * x * y <= THREADS and y < rows:
        y *= 2
    return x, y, 1


def floats(t: Tensor | None) -> Tensor | None:
    """The small tensors beside an image as kernels take them: float32, no gaps."""
    return None if t is None else t.detach().float().contiguous()
