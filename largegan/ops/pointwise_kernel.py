"""Plans for `kernels/bias_act.cu` and `kernels/modulate.cu`: one pass, and sums on the way."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from largegan.ops import backend
from largegan.ops.plan import KINDS, LARGEST_GRID, Plan, block, defines, floats, is_planes, pack
from largegan.ops.slope import Leaky

ROWS = 4  # that a thread has under way, as in the kernels
MOST_REPEAT = 8
ENOUGH_BLOCKS = 1024


class View(NamedTuple):
    """Memory as `[images, rows, columns]`; with `planes` an image is one channel of one image."""

    images: int
    rows: int
    columns: int
    vector: int
    planes: bool


def view(x: Tensor, dim: int = 1, *, per_image: bool = False) -> View | None:
    """How a kernel sees x, whose channels are dimension `dim`; None if it cannot.

    `per_image`: sums are wanted for each image, `[N, C]`.
    """
    fit = 16 // x.element_size()
    c, inner, outer = x.shape[dim], math.prod(x.shape[dim + 1 :]), math.prod(x.shape[:dim])
    last = x.ndim == 4 and dim == 1 and not is_planes(x)  # channels_last
    if not last and not x.is_contiguous():
        return None
    if last or inner == 1:
        rows = outer * inner // (x.shape[0] if per_image else 1)
        fits = c % fit == 0 and x.data_ptr() % 16 == 0
        return View(x.shape[0] if per_image else 1, rows, c, fit if fits else 1, False)
    v = fit if inner % fit == 0 and x.data_ptr() % 16 == 0 else 1
    return View(outer * c, inner // v, v, v, True)


def leaky(x: Tensor, b: Tensor | None, dim: int, act: Leaky) -> Tensor | None:
    """`clamp(leaky(x + b) * gain)`; None if no kernel can be had."""
    seen, y = view(x, dim), torch.empty_like(x)
    if seen is None:
        return None
    plan, _ = leaky_plan(x, y, None, b, x.shape[dim], seen, act)
    return y if backend.launch(plan, x.device) else None


def leaky_grad(
    dy: Tensor, y: Tensor, dim: int, act: Leaky, *, sums: bool
) -> tuple[Tensor, Tensor | None] | None:
    """(dy times the slope that gave y, its sums `[C]` if wanted); None if no kernel can be had."""
    seen = view(y, dim)
    if seen is None:
        return None
    dy = dy.contiguous() if is_planes(y) else dy.contiguous(memory_format=torch.channels_last)
    if seen.vector > 1 and dy.data_ptr() % 16:
        dy = dy.clone()
    dx, c = torch.empty_like(y), y.shape[dim]
    partial = _partial(seen, dy) if sums else None
    plan, kept = leaky_plan(dy, dx, y, None, c, seen, act, partial)
    if not backend.launch(plan, y.device):
        return None
    del kept
    return dx, _per_channel(partial, seen, c) if sums else None


def leaky_plan(x, y, result, b, channels, seen: View, act: Leaky, partial=None):
    """(launch, what it reads besides): with `result` the backward pass, which fills `partial`."""
    threads, grid, repeat = shares(seen, partial is not None)
    b = floats(b)
    params = pack(
        (x, y, result, b, partial),
        [seen.rows],
        [seen.images, seen.columns, channels, repeat],
        act,
    )
    return _plan("bias_act.cu", x, seen, result is not None, threads, grid, params), b


def modulate(x: Tensor, s: Tensor) -> Tensor | None:
    """x times s `[N, C]`; None if no kernel can be had."""
    found = _modulate(x, s, None)
    return None if found is None else found[0]


def modulate_grad(dy: Tensor, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor] | None:
    """(dy times s, the sums `[N, C]` of dy x over pixels); None if no kernel can be had."""
    form = torch.contiguous_format if is_planes(x) else torch.channels_last
    found = _modulate(dy.contiguous(memory_format=form), s, x)
    return None if found is None else (found[0], found[1].view(-1, *x.shape[:2]).sum(0))


def _modulate(x: Tensor, s: Tensor, other: Tensor | None):
    seen = view(x, per_image=True)
    if seen is None or (other is not None and other.data_ptr() % 16 and seen.vector > 1):
        return None
    y, partial = torch.empty_like(x), None if other is None else _partial(seen, x)
    plan, kept = modulate_plan(x, y, other, s, seen, partial)
    done = backend.launch(plan, x.device)
    del kept
    if not done:
        return None
    if partial is not None and seen.planes:
        partial = partial.view(-1, seen.images, seen.columns).sum(2)
    return y, partial


def modulate_plan(x, y, other, s, seen: View, partial):
    threads, grid, repeat = shares(seen, partial is not None)
    s = floats(s)
    ints = [seen.images, seen.columns, repeat]
    params = pack((x, y, other, s, partial), [seen.rows], ints)
    return _plan("modulate.cu", x, seen, other is not None, threads, grid, params), s


def shares(seen: View, sums: bool):
    """(block, grid, batches of rows of a thread)."""
    batches = -(-seen.rows // ROWS)
    threads = block(seen.columns // seen.vector, batches)
    blocks, columns = -(-batches // threads[1]), -(-seen.columns // seen.vector // threads[0])
    repeat = min(MOST_REPEAT, blocks * columns * seen.images // ENOUGH_BLOCKS) if sums else 1
    repeat = max(1, repeat)
    return threads, (-(-blocks // repeat), columns, min(seen.images, LARGEST_GRID)), repeat


def _plan(source: str, x, seen: View, grad: bool, threads, grid, params: bytes) -> Plan:
    macros = defines(KIND=KINDS[x.dtype], VECTOR=seen.vector, PLANES=seen.planes, GRAD=grad)
    shared = 4 * seen.vector * threads[0] * threads[1] if grad else 0
    return Plan(source, macros, grid, threads, shared, params)


def _partial(seen: View, x: Tensor) -> Tensor:
    """`[chunks, images * columns]`: all of it is written."""
    _, grid, _ = shares(seen, True)
    return torch.empty(grid[0], seen.images * seen.columns, dtype=torch.float32, device=x.device)


def _per_channel(partial: Tensor, seen: View, c: int) -> Tensor:
    if seen.planes:
        return partial.view(-1, c, seen.columns).sum([0, 2])
    return partial.view(-1, c).sum(0)
