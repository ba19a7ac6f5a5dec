"""Monge inception distance: sliced optimal transport between two sets of features.

arXiv 2605.06797: along random directions the features are numbers, and the cheapest way to turn one
set of numbers into another of the same size is in order. It needs no covariance, so that 5,000
images say about what the Fréchet distance says with 50,000.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from largegan.metrics.side import Settings, Side, both_features

DIRECTIONS, SEED = 1000, 2020  # as published


def monge_distance(real: Tensor, generated: Tensor, directions: Tensor) -> float:
    """3 d times the mean squared difference of sorted projections.

    Args:
        real, generated: features `[n, d]`, as many of either.
        directions: unit vectors `[m, d]`.
    """
    ours, theirs = (x.double() @ directions.double().T for x in (real, generated))
    gaps = ours.sort(0).values - theirs.sort(0).values
    return 3 * real.shape[1] * float(gaps.square().mean())


def directions_and_subset(
    larger: int, smaller: int, dim: int, *, count: int = DIRECTIONS, seed: int = SEED
) -> tuple[Tensor, Tensor]:
    """Unit vectors `[count, dim]`, and which of the larger set's rows are compared, `[smaller]`.

    Of one generator and in this order as published: first the rows, where the sizes differ.
    """
    draw = torch.Generator().manual_seed(seed)
    everything = torch.arange(larger)
    subset = everything if larger == smaller else torch.randperm(larger, generator=draw)[:smaller]
    return F.normalize(torch.randn(count, dim, generator=draw), dim=1), subset


def mind_estimate(
    real: Tensor, generated: Tensor, *, count: int = DIRECTIONS, seed: int = SEED
) -> float:
    """The distance of features `[n, d]` and `[m, d]`, the same for the same seed."""
    sizes = sorted((len(real), len(generated)))
    directions, subset = directions_and_subset(
        sizes[1], sizes[0], real.shape[1], count=count, seed=seed
    )
    if len(real) > len(generated):
        real = real[subset]
    elif len(generated) > len(real):
        generated = generated[subset]
    return monge_distance(real, generated, directions)


def mind(reference: Side, generated: Side, settings: Settings) -> dict[str, float]:
    """The row `mind`."""
    return {"mind": mind_estimate(*both_features(reference, generated, "mind"))}
