"""Normalize, scale, shift and activate, one after the other."""

import torch
from torch import Tensor

SLOPES = {"linear": 1.0, "relu": 0.0, "lrelu": 0.2}  # below zero


def batch_norm_act(
    x: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    *,
    act: str = "relu",
    alpha: float | None = None,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor, Tensor]:
    """The specification of `ops.batch_norm_act`."""
    y, mean, variance = norm_act(x, *gain_and_bias(x, gamma, beta), False, eps, slope(act, alpha))
    return y, mean.detach(), variance.detach()


def instance_norm_act(
    x: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    *,
    act: str = "relu",
    alpha: float | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """The specification of `ops.instance_norm_act`."""
    return norm_act(x, *gain_and_bias(x, gamma, beta), True, eps, slope(act, alpha))[0]


def norm_act(x, gamma, beta, per_image: bool, eps: float, alpha: float):
    """The result, and mean and biased variance: `[N, C]` if `per_image`, else `[C]`."""
    mean, variance, normal = normalized(x, per_image, eps)
    h = scaled(normal, gamma, beta)
    y = torch.where(h > 0, h, alpha * h) if alpha else h.relu()
    shape = statistics_shape(x, per_image)
    return y.to(x.dtype), mean.reshape(shape), variance.reshape(shape)


def normalized(x: Tensor, per_image: bool, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance and `(x - mean) / sqrt(variance + eps)`, in at least 32 bits."""
    x, over = x.to(wide(x)), (2, 3) if per_image else (0, 2, 3)
    mean = x.mean(over, keepdim=True)
    variance = (x - mean).square().mean(over, keepdim=True)
    return mean, variance, (x - mean) * (variance + eps).rsqrt()


def scaled(normal: Tensor, gamma: Tensor | None, beta: Tensor | None) -> Tensor:
    """`normal * gamma + beta`, both `[C]` or `[N, C]`."""
    h = normal if gamma is None else normal * gamma[..., None, None]
    return h if beta is None else h + beta[..., None, None]


def gain_and_bias(x: Tensor, *tensors: Tensor | None) -> list[Tensor | None]:
    """gamma and beta in at least 32 bits and of one shape; ValueError for other shapes."""
    for t in tensors:
        if t is not None and t.shape not in (x.shape[1:2], x.shape[:2]):
            raise ValueError(
                f"gamma and beta are [{x.shape[1]}] or {list(x.shape[:2])} for images "
                f"{list(x.shape)}, not {list(t.shape)}"
            )
    shapes = {t.shape for t in tensors if t is not None}
    if len(shapes) == 2:  # the kernel takes one shape for both
        tensors = [t.expand(x.shape[:2]) for t in tensors]
    return [None if t is None else t.to(wide(x)).contiguous() for t in tensors]


def slope(act: str, alpha: float | None) -> float:
    """Of `act` below zero; ValueError for one that is none of `SLOPES`."""
    if act not in SLOPES:
        raise ValueError(f"act is {act!r}: give one of {', '.join(SLOPES)}")
    return SLOPES[act] if alpha is None or act != "lrelu" else alpha


def statistics_shape(x: Tensor, per_image: bool) -> torch.Size:
    """The shape of mean and variance."""
    return x.shape[:2] if per_image else x.shape[1:2]


def wide(x: Tensor) -> torch.dtype:
    """The type of statistics, gains and biases: at least 32 bits."""
    return torch.promote_types(x.dtype, torch.float32)
