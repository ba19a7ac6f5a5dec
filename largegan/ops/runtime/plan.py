"""What a kernel's launch is made of, as plain data: made without a GPU, and tested without one."""

import struct
from typing import Any, NamedTuple

from torch import Tensor

THREADS = 256  # of a block, at most: what kernels are compiled for
LARGEST_GRID = 65535  # blocks along y and z
ROWS = 4  # that a thread of a kernel which sees rows has under way
MOST_REPEAT = 8  # batches of rows of a thread
ENOUGH_BLOCKS = 1024
Size = tuple[int, int, int]


class Plan(NamedTuple):
    """One launch of `kernel(const Params p)`, the only kernel of its file.

    `source` is the name of a .cu file in an op's folder, `defines` its -D macros (all that decides
    which code is compiled), `shared` the bytes of dynamic shared memory. `params` are the bytes of
    the struct `Params`, which the kernel takes by value; addresses of tensors are inside, so
    whoever launches keeps the tensors alive until the launch is enqueued.
    """

    source: str
    defines: tuple[tuple[str, str], ...]
    grid: Size
    block: Size
    shared: int
    params: bytes


class Launch(NamedTuple):
    """A plan with its tensors, which must live until it is enqueued."""

    plan: Plan
    result: Tensor
    reads: tuple
    sums: Any = None  # what it writes besides: partial sums, of blocks


def defines(**values: int) -> tuple[tuple[str, str], ...]:
    """Macros as a plan has them."""
    return tuple((name, str(int(value))) for name, value in values.items())


def pack(pointers, longs=(), ints=(), floats=()) -> bytes:
    """A struct of tensors' addresses (None: null), i64, int and float members, in this order."""
    addresses = [0 if t is None else t.data_ptr() for t in pointers]
    form = f"<{len(addresses)}Q{len(longs)}q{len(ints)}i{len(floats)}f"
    data = struct.pack(form, *addresses, *longs, *ints, *floats)
    return data + bytes(-len(data) % 8)


def block(vectors: int, rows: int) -> Size:
    """Threads for `vectors` words side by side (x) in each of so many rows (y, a power of two)."""
    x = vectors
    if vectors > 64:  # the largest divisor, so that no thread of x idles
        x = next((d for d in range(64, 15, -1) if vectors % d == 0), 32)
    y = 1
    while 2 * x * y <= THREADS and y < rows:
        y *= 2
    return x, y, 1


def shares(images: int, rows: int, words: int, *, sums: bool) -> tuple[Size, Size, int]:
    """(block, grid, batches of rows of a thread) for images of rows of so many words each.

    Where `sums` over rows are wanted, a thread goes on to further batches, for fewer partial sums.
    """
    batches = -(-rows // ROWS)
    threads = block(words, batches)
    blocks, columns = -(-batches // threads[1]), -(-words // threads[0])
    repeat = max(1, min(MOST_REPEAT, blocks * columns * images // ENOUGH_BLOCKS)) if sums else 1
    return threads, (-(-blocks // repeat), columns, min(images, LARGEST_GRID)), repeat
