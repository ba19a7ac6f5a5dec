"""BiGAN's perceptrons (Donahue et al., 2017, arXiv 1605.09782, appendix): for MNIST-like images.

Two hidden layers each, no biases; batch norm, without gain and bias, where z joins.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["batch", "none"]


def norm1d(features: int, norm: Norm) -> nn.Module:
    return nn.BatchNorm1d(features, affine=False) if norm == "batch" else nn.Identity()


class BiGANGenerator(nn.Module):
    """`[N, z_dim]` -> images `[N, *shape]` in [-1, 1]; z joins again in the second layer."""

    def __init__(self, z_dim: int, shape: tuple[int, int, int], *, width: int, norm: Norm):
        super().__init__()
        self.shape = shape
        self.linear1 = nn.Linear(z_dim, width, bias=False)
        self.linear2 = nn.Linear(width, width, bias=False)
        self.from_z = nn.Linear(z_dim, width, bias=False)
        self.norm1, self.norm2 = norm1d(width, norm), norm1d(width, norm)
        self.to_image = nn.Linear(width, torch.Size(shape).numel(), bias=False)

    def forward(self, z: Tensor) -> Tensor:
        x = self.norm1(self.linear1(z)).relu()
        x = self.norm2(self.linear2(x) + self.from_z(z)).relu()
        return self.to_image(x).tanh().unflatten(1, self.shape)


class Trunk(nn.Module):
    """Images -> `outputs` numbers; with `z_dim`, a linear map of z joins in the second layer."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        outputs: int,
        *,
        width: int,
        norm: Norm,
        z_dim: int = 0,
    ):
        super().__init__()
        self.linear1 = nn.Linear(torch.Size(shape).numel(), width, bias=False)
        self.linear2 = nn.Linear(width, width, bias=False)
        self.from_z = nn.Linear(z_dim, width, bias=False) if z_dim else None
        self.norm = norm1d(width, norm)
        self.score = nn.Linear(width, outputs, bias=False)

    def forward(self, images: Tensor, z: Tensor | None = None) -> Tensor:
        x = self.linear2(F.leaky_relu(self.linear1(images.flatten(1)), 0.2))
        if self.from_z is not None:
            x = x + self.from_z(z)
        return self.score(F.leaky_relu(self.norm(x), 0.2))
