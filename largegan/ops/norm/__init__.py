"""`batch_norm_act`, `instance_norm_act`: normalize, scale, shift and activate, in two passes."""

from torch import Tensor

from largegan.ops.norm import operators, reference
from largegan.ops.norm.reference import gain_and_bias, slope
from largegan.ops.runtime import backend

__all__ = ["batch_norm_act", "instance_norm_act"]


def batch_norm_act(
    x: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    *,
    act: str = "relu",
    alpha: float | None = None,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor, Tensor]:
    """Batch norm, gain, bias and activation; and the statistics of this batch.

    Returns `act((x - mean) / sqrt(variance + eps) * gamma + beta)`, mean and biased variance `[C]`.
    `gamma` and `beta` are `[C]`, or `[N, C]` where a condition decides; None is 1 and 0. `act` is
    linear, relu or lrelu (slope `alpha` below zero), without gain. Mean and variance are for
    running averages: no gradient goes through them. Raises ValueError for another `act` or other
    shapes.
    """
    return _chosen()(x, *gain_and_bias(x, gamma, beta), False, eps, slope(act, alpha))


def instance_norm_act(
    x: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    *,
    act: str = "relu",
    alpha: float | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Instance norm, gain, bias and activation.

    The result of `batch_norm_act`, with the statistics of each image and channel by itself.
    """
    return _chosen()(x, *gain_and_bias(x, gamma, beta), True, eps, slope(act, alpha))[0]


def _chosen():
    """One operator, or what it is made of."""
    return reference.norm_act if backend.plain() else operators.norm_act
