"""Plans for `norm.cu`: three stages forward, and three backward."""

from typing import NamedTuple

import torch
from torch import Tensor

from largegan.ops.norm.reference import statistics_shape
from largegan.ops.runtime.layout import KINDS, dense, layout
from largegan.ops.runtime.plan import LARGEST_GRID, THREADS, Plan, defines, pack

MOMENTS, STATISTICS, NORMALIZE, GRADIENT_SUMS, GRADIENTS, GRADIENT_X = range(6)  # of norm.cu
FORWARD, BACKWARD = (MOMENTS, STATISTICS, NORMALIZE), (GRADIENT_SUMS, GRADIENTS, GRADIENT_X)
WORDS = 4  # that a thread reads at once
BLOCKS = 2048  # enough of them for any GPU to read memory at its speed


class Tensors(NamedTuple):
    """In the order of `Params` in norm.cu."""

    x: Tensor
    dy: Tensor | None = None
    y: Tensor | None = None
    gamma: Tensor | None = None
    beta: Tensor | None = None
    mean: Tensor | None = None
    variance: Tensor | None = None
    sums: Tensor | None = None
    dgamma: Tensor | None = None
    dbeta: Tensor | None = None
    spread: Tensor | None = None


def forward(x: Tensor, gamma: Tensor | None, beta: Tensor | None, per_image: bool) -> Tensors:
    """What the stages forward read and write: the result is `y`."""
    x, shape = dense(x, layout(x)), statistics_shape(x, per_image)
    mean, variance = (x.new_empty(shape, dtype=torch.float32) for _ in range(2))
    return Tensors(x, None, torch.empty_like(x), gamma, beta, mean, variance, partial_sums(x))


def backward(dy: Tensor, x: Tensor, gamma, beta, mean: Tensor, variance: Tensor) -> Tensors:
    """What the stages backward read and write: the gradient of x is `y`."""
    x = dense(x, layout(x))
    dy = dense(dy.to(x.dtype), layout(x))
    shape = affine_shape(x, gamma, beta)
    dgamma, dbeta = (x.new_empty(shape, dtype=torch.float32) for _ in range(2))
    spread = mean.new_empty(*mean.shape, 2)
    statistics = gamma, beta, mean, variance, partial_sums(x), dgamma, dbeta, spread
    return Tensors(x, dy, torch.empty_like(x), *statistics)


def affine_shape(x: Tensor, gamma: Tensor | None, beta: Tensor | None) -> torch.Size:
    """The shape of gamma and beta, `[N, C]` or `[C]`."""
    return next((t.shape for t in (gamma, beta) if t is not None), x.shape[1:2])


def partial_sums(x: Tensor) -> Tensor:
    """`[N, splits, C, 2]`: one part for every block that works on an image."""
    return x.new_empty(x.shape[0], blocks(x)[0][1], x.shape[1], 2, dtype=torch.float32)


def plan(stage: int, tensors: Tensors, eps: float, alpha: float) -> Plan:
    """A stage of norm.cu. Images are contiguous or channels_last, all in the same way."""
    x, mean = tensors.x, tensors.mean
    n, c, h, w = x.shape
    splits = tensors.sums.shape[1]
    small = stage in (STATISTICS, GRADIENTS)
    grid, block = ((-(-c // 32), 1, 1), (32, min(32, n), 1)) if small else blocks(x)
    if stage in (NORMALIZE, GRADIENT_X):
        grid = grid[0], _chunks(x, block), grid[2]
    macros = defines(
        KIND=KINDS[x.dtype],
        VECTOR=1 if small else vector(x),
        PLANES=_planes(x),
        STAGE=stage,
    )
    lanes = 1 if small or _planes(x) else vector(x)
    sums = {MOMENTS: 2, GRADIENT_SUMS: 2, STATISTICS: 4, GRADIENTS: 4}.get(stage, 0)
    affine = tensors.gamma if tensors.gamma is not None else tensors.beta
    stride = c if affine is not None and affine.ndim == 2 else 0
    params = pack(tensors, (), (n, c, h * w, splits, stride, mean.ndim == 2), (eps, alpha))
    return Plan("norm.cu", macros, grid, block, 4 * sums * lanes * block[0] * block[1], params)


def _planes(x: Tensor) -> bool:
    return x.is_contiguous()


def vector(x: Tensor) -> int:
    """Elements in 16 bytes, where rows of memory can be read so; else 1."""
    many = 16 // x.element_size()
    row = x.shape[2] * x.shape[3] if _planes(x) else x.shape[1]
    return many if row % many == 0 else 1


def blocks(x: Tensor) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """(grid, block) of the passes that sum: channels along x, pixels along y, images along z."""
    n, c, h, w = x.shape
    if _planes(x):
        columns, across, words = c, 1, h * w // vector(x)
    else:
        columns, across, words = c // vector(x), min(32, _power(c // vector(x))), h * w
    along = max(1, min(THREADS // across, _power(words)))
    wide = -(-columns // across)
    splits = min(-(-BLOCKS // (wide * n)), -(-words // (along * WORDS)), LARGEST_GRID)
    return (wide, max(1, splits), min(n, LARGEST_GRID)), (across, along, 1)


def _chunks(x: Tensor, block: tuple[int, int, int]) -> int:
    """Blocks along the pixels of an image where nothing is summed: as many as there is work."""
    words = x.shape[2] * x.shape[3] // (vector(x) if _planes(x) else 1)
    return max(1, min(-(-words // (block[1] * WORDS)), LARGEST_GRID))


def _power(n: int) -> int:
    """The power of two that is not below n."""
    return 1 << max(n - 1, 0).bit_length()
