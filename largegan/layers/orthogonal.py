"""Orthogonal weights: how BigGAN's start, and the regularization that keeps them so."""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from largegan.layers.precision import exact

Start = Literal["orthogonal", "normal", "xavier"]
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.Embedding)


def init_weights(net: nn.Module, start: Start) -> None:
    """Every convolution, linear map and embedding; biases keep torch's start.

    "orthogonal" is BigGAN's, "normal" N(0, 0.02) that of its CIFAR script, "xavier" SAGAN's.
    """
    for module in net.modules():
        if isinstance(module, LAYERS):
            if start == "orthogonal":
                nn.init.orthogonal_(module.weight)
            elif start == "xavier":
                nn.init.xavier_uniform_(module.weight)
            else:
                nn.init.normal_(module.weight, 0.0, 0.02)


def orthogonal_penalty(weights: Iterable[Tensor]) -> Tensor:
    """1/2 the sum over weights of |W W^T * (1 - I)|^2: rows should be orthogonal, of any length.

    Brock et al. (2019), Eq. 3, with the half that BigGAN-PyTorch's gradient 2 (W W^T * (1 - I)) W
    implies. W is a weight flattened to one row per entry of its first dimension; vectors (biases,
    gains) are passed over.
    """
    weights = [w for w in weights if w.dim() >= 2]
    with exact(weights[0]):  # a difference of large sums: sixteen bits are too few
        return torch.stack([_off_diagonal(w.flatten(1)) / 2 for w in weights]).sum()


def _off_diagonal(rows: Tensor) -> Tensor:
    """Sum of squared products of different rows."""
    if rows.shape[0] <= rows.shape[1]:
        gram = rows @ rows.mT
        return (gram - torch.diag(gram.diagonal())).square().sum()
    # |W W^T| = |W^T W|: BigGAN's first layer has 24,576 rows of 20 numbers.
    return (rows.mT @ rows).square().sum() - rows.square().sum(1).square().sum()
