"""What networks get for a label: a class as one of many, or the vector that it stands for."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conditions(nn.Module):
    """Labels int64 `[N]` -> float `[N, width]`.

    Classes become one-hot vectors. Where data have vectors as labels (several classes at once,
    numbers), a label is a row of their table, which `fill` brings and checkpoints keep.
    """

    def __init__(self, num_classes: int, condition_dim: int = 0):
        super().__init__()
        self.num_classes = num_classes
        self.width = (condition_dim or num_classes) if num_classes else 0
        self.table: Tensor | None
        table = torch.zeros(num_classes, condition_dim) if num_classes and condition_dim else None
        self.register_buffer("table", table)

    def fill(self, table: Tensor) -> None:
        """The vectors `[num_classes, width]` of the data."""
        if self.table is not None:
            self.table.copy_(table)

    def forward(self, labels: Tensor) -> Tensor:
        if self.table is not None:
            return self.table[labels]
        return F.one_hot(labels, self.num_classes).float()
