"""Plans for `modulate.cu`: one pass over the image, and sums on the way."""

import torch
from torch import Tensor

from largegan.ops.runtime.layout import KINDS, View, floats, is_planes, view
from largegan.ops.runtime.plan import Launch, Plan, defines, pack, shares


def forward(x: Tensor, s: Tensor) -> Launch | None:
    """x times s `[N, C]`; None where x lies in memory as no kernel can read it."""
    return _launch(x, s, None)


def backward(dy: Tensor, x: Tensor, s: Tensor) -> Launch | None:
    """dy times s, and the sums of dy x over pixels; None where there is no kernel."""
    form = torch.contiguous_format if is_planes(x) else torch.channels_last
    return _launch(dy.contiguous(memory_format=form), s, x)


def _launch(x: Tensor, s: Tensor, other: Tensor | None) -> Launch | None:
    seen = view(x, per_image=True)
    if seen is None or (other is not None and other.data_ptr() % 16 and seen.vector > 1):
        return None
    y, s = torch.empty_like(x), floats(s)
    partial = None if other is None else _partial(seen, x)
    found = plan(x, y, other, s, seen, partial)
    return Launch(found, y, (x, s, other), partial)


def total(partial: Tensor, x: Tensor) -> Tensor:
    """The sums `[N, C]` of a backward pass over pixels, always added in the same order."""
    seen = view(x, per_image=True)
    if seen.planes:
        partial = partial.view(-1, seen.images, seen.columns).sum(2)
    return partial.view(-1, *x.shape[:2]).sum(0)


def plan(x, y, other, s, seen: View, partial) -> Plan:
    """The launch that writes y: with `other` the backward pass, which fills `partial`."""
    words = seen.columns // seen.vector
    threads, grid, repeat = shares(seen.images, seen.rows, words, sums=partial is not None)
    params = pack((x, y, other, s, partial), [seen.rows], [seen.images, seen.columns, repeat])
    grad = other is not None
    macros = defines(KIND=KINDS[x.dtype], VECTOR=seen.vector, PLANES=seen.planes, GRAD=grad)
    shared = 4 * seen.vector * threads[0] * threads[1] if grad else 0
    return Plan("modulate.cu", macros, grid, threads, shared, params)


def _partial(seen: View, x: Tensor) -> Tensor:
    """`[chunks, images * columns]`: all of it is written."""
    _, grid, _ = shares(seen.images, seen.rows, seen.columns // seen.vector, sums=True)
    return torch.empty(grid[0], seen.images * seen.columns, dtype=torch.float32, device=x.device)
