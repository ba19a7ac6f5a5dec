"""Dropout that is turned on in a network that was built without: it adds no layer, no name."""

import torch.nn.functional as F
from torch import Tensor, nn


class Drops(nn.Module):
    """A network whose feature maps can be dropped while it trains (Srivastava et al., 2014)."""

    dropout: float = 0.0  # the probability of each number

    def drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


def set_dropout(net: nn.Module, probability: float) -> None:
    """In all parts of `net` that can."""
    for module in net.modules():
        if isinstance(module, Drops):
            module.dropout = probability
