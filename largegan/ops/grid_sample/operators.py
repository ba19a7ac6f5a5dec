"""`largegan::gather` and `largegan::scatter`: each is the other's adjoint."""

import torch
from torch import Tensor

from largegan.ops.grid_sample.reference import scatter_in_order
from largegan.ops.runtime.registering import operator

BILINEAR, ZEROS = 0, 0


@operator("gather")
def gather(x: Tensor, grid: Tensor) -> Tensor:
    """x `[N, C, H, W]` read at the grid `[N, h, w, 2]`; linear in x."""
    return torch.ops.aten.grid_sampler_2d(x, grid, BILINEAR, ZEROS, False).contiguous()


@gather.register_fake
def _(x, grid):
    return x.new_empty(*x.shape[:2], *grid.shape[1:3])


@operator("scatter")
def scatter(dy: Tensor, grid: Tensor, height: int, width: int) -> Tensor:
    """The adjoint of `gather` for images of this size; linear in dy.

    PyTorch's own adds up in the order in which threads come; where algorithms are asked to be
    deterministic, the corners are sorted and added instead.
    """
    if dy.is_cuda and torch.are_deterministic_algorithms_enabled():
        return scatter_in_order(dy, grid, height, width)
    x = dy.new_empty(()).expand(*dy.shape[:2], height, width)  # only its shape is read
    mask = [True, False]
    dx = torch.ops.aten.grid_sampler_2d_backward(dy, x, grid, BILINEAR, ZEROS, False, mask)[0]
    return dx.contiguous()


@scatter.register_fake
def _(dy, grid, height, width):
    return dy.new_empty(*dy.shape[:2], height, width)


def _keep(ctx, inputs, output) -> None:
    x, grid = inputs
    ctx.size = x.shape[2:]
    ctx.save_for_backward(grid)


def _scatter(ctx, dy: Tensor):
    return scatter(dy, *ctx.saved_tensors, *ctx.size), None


def _keep_scatter(ctx, inputs, output) -> None:
    ctx.save_for_backward(inputs[1])


def _gather(ctx, ddx: Tensor):
    return gather(ddx, *ctx.saved_tensors), None, None, None


gather.register_autograd(_scatter, setup_context=_keep)
scatter.register_autograd(_gather, setup_context=_keep_scatter)
