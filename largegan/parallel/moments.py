"""Which of an optimizer's tensors go with the weights, and which count its steps."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn, optim

MakeOptimizer = Callable[[Iterator[nn.Parameter]], optim.Optimizer]


def fields_of_weights(make_optimizer: MakeOptimizer) -> set[str]:
    """Fields that have a number for each weight, such as Adam's two moments.

    Found by a step of two weights, because shapes do not tell: the moments of a weight without
    dimensions look like a counter. A schedule may begin momentum later, so the step has some.
    """
    fields = after_a_step(make_optimizer, momentum=0.5).items()
    return {field for field, value in fields if getattr(value, "shape", None) == (2,)}


def continues(make_optimizer: MakeOptimizer, fields: set[str]) -> bool:
    """Whether an optimizer can go on from a state with these fields."""
    needed, known = after_a_step(make_optimizer), after_a_step(make_optimizer, momentum=0.5)
    needed = {field: value for field, value in needed.items() if value is not None}
    return needed.keys() <= fields <= needed.keys() | known.keys()


def after_a_step(make_optimizer: MakeOptimizer, **settings: float) -> dict[str, Any]:
    """The state of two weights; `settings` where the optimizer has such."""
    weights = nn.Parameter(torch.zeros(2))
    weights.grad = torch.zeros(2)
    optimizer = make_optimizer(iter([weights]))
    for group in optimizer.param_groups:
        group.update({name: value for name, value in settings.items() if name in group})
    optimizer.step()
    return optimizer.state.get(weights, {})
