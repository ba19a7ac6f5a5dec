"""Plans for `bias_act.cu`: one pass over the image, and sums on the way."""

import torch
from torch import Tensor

from largegan.ops.bias_act.leaky import Leaky
from largegan.ops.runtime.layout import KINDS, View, floats, is_planes, view
from largegan.ops.runtime.plan import Launch, Plan, defines, pack, shares


def forward(x: Tensor, b: Tensor | None, dim: int, act: Leaky) -> Launch | None:
    """`clamp(leaky(x + b) * gain)`; None where x lies in memory as no kernel can read it."""
    seen, y, b = view(x, dim), torch.empty_like(x), floats(b)
    if seen is None:
        return None
    return Launch(plan(x, y, None, b, x.shape[dim], seen, act), y, (x, b))


def backward(dy: Tensor, y: Tensor, dim: int, act: Leaky, *, sums: bool) -> Launch | None:
    """dy times the slope that gave y, and its sums if wanted; None where there is no kernel."""
    seen = view(y, dim)
    if seen is None:
        return None
    dy = dy.contiguous() if is_planes(y) else dy.contiguous(memory_format=torch.channels_last)
    if seen.vector > 1 and dy.data_ptr() % 16:
        dy = dy.clone()
    dx, partial = torch.empty_like(y), _partial(seen, dy) if sums else None
    found = plan(dy, dx, y, None, y.shape[dim], seen, act, partial)
    return Launch(found, dx, (dy, y), partial)


def total(partial: Tensor, y: Tensor, dim: int) -> Tensor:
    """The sums `[C]` of a backward pass, always added in the same order."""
    seen, channels = view(y, dim), y.shape[dim]
    if seen.planes:
        return partial.view(-1, channels, seen.columns).sum([0, 2])
    return partial.view(-1, channels).sum(0)


def plan(x, y, result, b, channels: int, seen: View, act: Leaky, partial=None) -> Plan:
    """The launch that writes y: with `result` the backward pass, which fills `partial`."""
    words = seen.columns // seen.vector
    threads, grid, repeat = shares(seen.images, seen.rows, words, sums=partial is not None)
    ints = [seen.images, seen.columns, channels, repeat]
    params = pack((x, y, result, b, partial), [seen.rows], ints, act)
    grad = result is not None
    macros = defines(KIND=KINDS[x.dtype], VECTOR=seen.vector, PLANES=seen.planes, GRAD=grad)
    shared = 4 * seen.vector * threads[0] * threads[1] if grad else 0
    return Plan("bias_act.cu", macros, grid, threads, shared, params)


def _partial(seen: View, x: Tensor) -> Tensor:
    """`[chunks, images * columns]`: all of it is written."""
    _, grid, _ = shares(seen.images, seen.rows, seen.columns // seen.vector, sums=True)
    return torch.empty(grid[0], seen.images * seen.columns, dtype=torch.float32, device=x.device)
