"""Which of an optimizer's tensors go with the weights, and which count its steps."""

from collections.abc import Callable, Iterator

import torch
from torch import nn, optim


def fields_of_weights(make_optimizer: Callable[[Iterator[nn.Parameter]], optim.Optimizer]) -> set:
    """Fields that have a number for each weight, such as Adam's two moments.

    Found by a step of two weights, because shapes do not tell: the moments of a weight without
    dimensions look like a counter.
    """
    weights = nn.Parameter(torch.zeros(2))
    weights.grad = torch.zeros(2)
    optimizer = make_optimizer(iter([weights]))
    optimizer.step()
    fields = optimizer.state.get(weights, {}).items()
    return {field for field, value in fields if getattr(value, "shape", None) == weights.shape}
