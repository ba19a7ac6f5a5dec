"""Collectives inside a network: what batch norm over all ranks is made of."""

import torch
import torch.distributed as dist
from torch import Tensor

from largegan.parallel.launch import contact


class _MeanOverRanks(torch.autograd.Function):
    """Every rank's loss depends on every rank's input, so the gradient is a mean over ranks too.

    Each rank back-propagates its share of the loss and the engine adds up the gradients: with s the
    mean of the x_r over n ranks, dL/dx_r is 1/n of the sum of all dL_q/ds. Being its own
    derivative, it can be differentiated any number of times.
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        mean = x.contiguous().clone()
        with contact():
            dist.all_reduce(mean)
        return mean.div_(dist.get_world_size())

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _MeanOverRanks.apply(gradient)


def mean_over_ranks(x: Tensor) -> Tensor:
    """The mean of a tensor that has the same shape on all ranks; all of them must call it."""
    return _MeanOverRanks.apply(x)
