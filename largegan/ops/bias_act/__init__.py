"""`bias_act`: bias, activation, gain and clamp in one call."""

from torch import Tensor

from largegan.ops.bias_act import operators
from largegan.ops.bias_act.activations import ACTIVATIONS, Activation

__all__ = ["ACTIVATIONS", "bias_act"]


def bias_act(
    x: Tensor,
    b: Tensor | None = None,
    *,
    act: str = "lrelu",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    dim: int = 1,
) -> Tensor:
    """Bias, activation, gain and clamp: `clip(act(x + b) * gain, -clamp, clamp)`.

    `b` `[C]` lies along `dim` of `x`. `alpha`, the slope of lrelu below zero, and `gain` have
    defaults that belong to `act`. The piecewise-linear activations, which image networks are made
    of, are one operator and keep their result alone for the backward pass; the smooth ones are
    PyTorch's. Raises ValueError for an `act` that is not in `ACTIVATIONS`.
    """
    return operators.bias_act(x, b, Activation.of(act, alpha, gain, clamp), dim)
