"""The activations that `bias_act` knows, and one of them with its constants."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

ROOT2 = 2**0.5


class Nonlinearity(NamedTuple):
    """`gain` is the default: it keeps the second moment of normal numbers, roughly."""

    gain: float
    function: Callable[[Tensor], Tensor] | None = None  # None: a piecewise-linear one
    alpha: float = 0.0  # the slope below zero


ACTIVATIONS = {
    "linear": Nonlinearity(1.0, lambda x: x),
    "relu": Nonlinearity(ROOT2),
    "lrelu": Nonlinearity(ROOT2, alpha=0.2),
    "tanh": Nonlinearity(1.0, torch.tanh),
    "sigmoid": Nonlinearity(1.0, torch.sigmoid),
    "elu": Nonlinearity(1.0, F.elu),
    "selu": Nonlinearity(1.0, F.selu),
    "softplus": Nonlinearity(1.0, F.softplus),
    "silu": Nonlinearity(ROOT2, F.silu),
    "swish": Nonlinearity(ROOT2, F.silu),
    "gelu": Nonlinearity(ROOT2, F.gelu),
}


class Activation(NamedTuple):
    """An activation of a call: `clip(name(x) * gain, -clamp, clamp)`."""

    name: str
    alpha: float
    gain: float
    clamp: float | None

    @staticmethod
    def of(
        act: str, alpha: float | None = None, gain: float | None = None, clamp: float | None = None
    ) -> "Activation":
        """From the arguments of an op: None stands for the default of `act`."""
        if act not in ACTIVATIONS:
            raise ValueError(f"act is {act!r}: give one of {', '.join(ACTIVATIONS)}")
        default = ACTIVATIONS[act]
        alpha = default.alpha if alpha is None or act != "lrelu" else alpha
        return Activation(act, alpha, default.gain if gain is None else gain, clamp)
