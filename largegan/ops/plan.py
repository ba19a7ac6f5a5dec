"""What a kernel's launch is made of, as plain data: made without a GPU, and tested without one."""

from typing import NamedTuple


class Plan(NamedTuple):
    """One launch of `kernel(const Params p)`, the only kernel of its file.

    `source` is a file of largegan/ops/kernels/, `defines` its -D macros (all that decides which
    code is compiled), `shared` the bytes of dynamic shared memory. `params` are the bytes of the
    struct `Params`, which the kernel takes by value; addresses of tensors are inside, so whoever
    launches keeps the tensors alive and on the device until the launch is enqueued.
    """

    source: str
    defines: tuple[tuple[str, str], ...]
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int
    params: bytes
