"""`bias_act`: bias, activation, gain and clamp in one call."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Activation(NamedTuple):
    """`alpha` and `gain` are the defaults; the gains keep a unit second moment, roughly."""

    function: object
    gain: float = 1.0
    alpha: float = 0.0


ROOT2 = 2**0.5
ACTIVATIONS = {
    "linear": Activation(lambda x, alpha: x),
    "relu": Activation(lambda x, alpha: F.relu(x), ROOT2),
    "lrelu": Activation(F.leaky_relu, ROOT2, 0.2),
    "tanh": Activation(lambda x, alpha: torch.tanh(x)),
    "sigmoid": Activation(lambda x, alpha: torch.sigmoid(x)),
    "elu": Activation(lambda x, alpha: F.elu(x)),
    "selu": Activation(lambda x, alpha: F.selu(x)),
    "softplus": Activation(lambda x, alpha: F.softplus(x)),
    "silu": Activation(lambda x, alpha: F.silu(x), ROOT2),
    "swish": Activation(lambda x, alpha: F.silu(x), ROOT2),
    "gelu": Activation(lambda x, alpha: F.gelu(x), ROOT2),
}


def bias_act(x, b=None, *, act="lrelu", alpha=None, gain=None, clamp=None, dim=1) -> Tensor:
    """`clip(act(x + b) * gain, -clamp, clamp)`; `b` `[C]` lies along `dim` of `x`.

    `alpha` (the slope of lrelu) and `gain` have defaults that belong to `act`.
    """
    if act not in ACTIVATIONS:
        raise ValueError(f"act is {act!r}: give one of {', '.join(ACTIVATIONS)}")
    default = ACTIVATIONS[act]
    if b is not None:
        x = x + b.reshape([-1 if i == dim % x.ndim else 1 for i in range(x.ndim)])
    x = default.function(x, default.alpha if alpha is None else alpha)
    gain = default.gain if gain is None else gain
    x = x * gain if gain != 1 else x
    return x if clamp is None else x.clamp(-clamp, clamp)
