"""`batch_norm_act`, `instance_norm_act`: normalise, scale, shift and activate, in two passes.

The usual chain reads and writes the image for each of the four. Here one pass sums, another does
the rest, and the backward pass is as many; it makes the activation's slope anew from its input.
A kernel does first derivatives; higher ones are made of PyTorch's operations.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from largegan.ops import backend
from largegan.ops.plan import KINDS, LARGEST_GRID, THREADS, Plan, defines, dense, pack
from largegan.ops.registering import layout, needed

SLOPES = {"linear": 1.0, "relu": 0.0, "lrelu": 0.2}  # below zero
MOMENTS, STATISTICS, NORMALIZE, GRADIENT_SUMS, GRADIENTS, GRADIENT_X = range(6)  # of norm.cu
WORDS = 4  # that a thread reads at once
BLOCKS = 2048  # enough of them for any GPU to read memory at its speed


def batch_norm_act(
    x: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    *,
    act: str = "relu",
    alpha: float | None = None,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor, Tensor]:
    """`act((x - mean) / sqrt(variance + eps) * gamma + beta)`, mean and biased variance `[C]`.

    Statistics are those of this batch. `gamma` and `beta` are `[C]`, or `[N, C]` where a condition
    decides; None is 1 and 0. `act` is linear, relu or lrelu (slope `alpha` below zero), without
    gain. Mean and variance are for running averages: no gradient goes through them.
    """
    return norm_act(x, *_affine(x, gamma, beta), False, eps, _slope(act, alpha))


def instance_norm_act(
    x: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    *,
    act: str = "relu",
    alpha: float | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """As `batch_norm_act`, with the statistics of each image and channel by itself."""
    return norm_act(x, *_affine(x, gamma, beta), True, eps, _slope(act, alpha))[0]


def _slope(act: str, alpha: float | None) -> float:
    if act not in SLOPES:
        raise ValueError(f"act is {act!r}: give one of {', '.join(SLOPES)}")
    return SLOPES[act] if alpha is None or act != "lrelu" else alpha


def _affine(x: Tensor, *tensors: Tensor | None) -> list[Tensor | None]:
    for t in tensors:
        if t is not None and t.shape not in (x.shape[1:2], x.shape[:2]):
            raise ValueError(
                f"gamma and beta are [{x.shape[1]}] or {list(x.shape[:2])} for images "
                f"{list(x.shape)}, not {list(t.shape)}"
            )
    shapes = {t.shape for t in tensors if t is not None}
    if len(shapes) == 2:  # the kernel takes one shape for both
        tensors = [t.expand(x.shape[:2]) for t in tensors]
    return [None if t is None else t.to(_wide(x)).contiguous() for t in tensors]


def _wide(x: Tensor) -> torch.dtype:
    """Of statistics, gains and biases: at least 32 bits."""
    return torch.promote_types(x.dtype, torch.float32)


@torch.library.custom_op("largegan::norm_act", mutates_args=())
def norm_act(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, per_image: bool, eps: float, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The result, and mean and biased variance: `[N, C]` if `per_image`, else `[C]`."""
    if backend.usable(x):
        found = _forward(x, gamma, beta, per_image, eps, alpha)
        if found is not None:
            return found
    mean, variance, normal = _normal(x, per_image, eps)
    h = _scaled(normal, gamma, beta)
    y = torch.where(h > 0, h, alpha * h) if alpha else h.relu()
    y = y.to(x.dtype).contiguous(memory_format=layout(x))
    shape = x.shape[:2] if per_image else x.shape[1:2]
    return y, mean.reshape(shape).contiguous(), variance.reshape(shape).contiguous()


@norm_act.register_fake
def _(x, gamma, beta, per_image, eps, alpha):
    statistics = [x.new_empty(_shape(x, per_image), dtype=_wide(x)) for _ in range(2)]
    return torch.empty_like(x, memory_format=layout(x)), *statistics


@torch.library.custom_op("largegan::norm_act_backward", mutates_args=())
def norm_act_backward(
    dy: Tensor,
    x: Tensor,
    gamma: Tensor | None,
    beta: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    eps: float,
    alpha: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of x, gamma and beta. Has none itself: see `_gradients` for higher orders."""
    if backend.usable(x):
        found = _backward(dy, x, gamma, beta, mean, variance, eps, alpha)
        if found is not None:
            return found
    dx, dgamma, dbeta = _composite(dy, x, gamma, beta, mean.ndim == 2, eps, alpha)
    return dx.contiguous(memory_format=layout(x)), dgamma.contiguous(), dbeta.contiguous()


@norm_act_backward.register_fake
def _(dy, x, gamma, beta, mean, variance, eps, alpha):
    affine = [x.new_empty(_affine_shape(x, gamma, beta), dtype=_wide(x)) for _ in range(2)]
    return torch.empty_like(x, memory_format=layout(x)), *affine


def _keep(ctx, inputs, output) -> None:
    x, gamma, beta, ctx.per_image, ctx.eps, ctx.alpha = inputs
    _, mean, variance = output
    ctx.mark_non_differentiable(mean, variance)
    ctx.save_for_backward(x, gamma, beta, mean, variance)


def _gradients(ctx, dy: Tensor, *_):
    x, gamma, beta, mean, variance = ctx.saved_tensors
    constants = ctx.eps, ctx.alpha
    if torch.is_grad_enabled():  # the gradient is to be differentiated: in ops that can be
        found = _composite(dy, x, gamma, beta, ctx.per_image, *constants)
    else:
        found = norm_act_backward(dy, x, gamma, beta, mean, variance, *constants)
    dx, dgamma, dbeta = found
    dgamma = dgamma if gamma is not None and needed(ctx, 1) else None
    dbeta = dbeta if beta is not None and needed(ctx, 2) else None
    return dx, dgamma, dbeta, None, None, None


norm_act.register_autograd(_gradients, setup_context=_keep)


def _normal(x: Tensor, per_image: bool, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance and `(x - mean) / sqrt(variance + eps)`, in at least 32 bits."""
    x, over = x.to(_wide(x)), (2, 3) if per_image else (0, 2, 3)
    mean = x.mean(over, keepdim=True)
    variance = (x - mean).square().mean(over, keepdim=True)
    return mean, variance, (x - mean) * (variance + eps).rsqrt()


def _scaled(normal: Tensor, gamma: Tensor | None, beta: Tensor | None) -> Tensor:
    h = normal if gamma is None else normal * gamma[..., None, None]
    return h if beta is None else h + beta[..., None, None]


def _composite(dy, x, gamma, beta, per_image: bool, eps: float, alpha: float):
    """The gradients in operations that have gradients; the slope counts as constant."""
    _, variance, normal = _normal(x, per_image, eps)
    over = (2, 3) if per_image else (0, 2, 3)
    h = _scaled(normal, gamma, beta).detach()
    g = dy.to(h.dtype) * torch.where(h > 0, 1.0, alpha).to(h.dtype)
    part = g if gamma is None else g * gamma[..., None, None]
    spread = part.mean(over, keepdim=True) + normal * (part * normal).mean(over, keepdim=True)
    dx = ((variance + eps).rsqrt() * (part - spread)).to(x.dtype)
    over = (2, 3) if len(_affine_shape(x, gamma, beta)) == 2 else (0, 2, 3)
    return dx, (g * normal).sum(over), g.sum(over)


def _shape(x: Tensor, per_image: bool) -> torch.Size:
    return x.shape[:2] if per_image else x.shape[1:2]


def _affine_shape(x: Tensor, gamma: Tensor | None, beta: Tensor | None) -> torch.Size:
    return next((t.shape for t in (gamma, beta) if t is not None), x.shape[1:2])


# The kernel


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


def _forward(x, gamma, beta, per_image: bool, eps: float, alpha: float):
    """The three outputs; None if a kernel cannot be had."""
    x = dense(x, layout(x))
    mean, variance = (x.new_empty(_shape(x, per_image), dtype=torch.float32) for _ in range(2))
    tensors = Tensors(x, None, torch.empty_like(x), gamma, beta, mean, variance, partial_sums(x))
    for stage in (MOMENTS, STATISTICS, NORMALIZE):
        if not backend.launch(plan(stage, tensors, eps, alpha), x.device):
            return None
    return tensors.y, mean, variance


def _backward(dy, x, gamma, beta, mean, variance, eps: float, alpha: float):
    """The three gradients; None if a kernel cannot be had."""
    x = dense(x, layout(x))
    dy = dense(dy.to(x.dtype), layout(x))
    shape = _affine_shape(x, gamma, beta)
    dgamma, dbeta = (x.new_empty(shape, dtype=torch.float32) for _ in range(2))
    spread = mean.new_empty(*mean.shape, 2)
    statistics = gamma, beta, mean, variance, partial_sums(x), dgamma, dbeta, spread
    tensors = Tensors(x, dy, torch.empty_like(x), *statistics)
    for stage in (GRADIENT_SUMS, GRADIENTS, GRADIENT_X):
        if not backend.launch(plan(stage, tensors, eps, alpha), x.device):
            return None
    return tensors.y, dgamma, dbeta


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
