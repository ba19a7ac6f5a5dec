"""Fidelity and diversity apart: precision, recall, density and coverage of features.

Kynkäänniemi et al., "Improved Precision and Recall Metric", 2019 (k = 3 in its code), and Naeem et
al., "Reliable Fidelity and Diversity Metrics", 2020 (k = 5). A set is described by balls around
its samples that reach to their k-th neighbor. Distances are computed block by block in float64.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from largegan.errors import DataError
from largegan.metrics.side import Settings, Side, both_features

BLOCK = 2048  # rows of a block of distances


@dataclass(frozen=True)
class Manifolds:
    """Fractions of the samples, except density, which may exceed 1.

    precision: generated samples within a ball of the real ones; recall: the other way round.
    density: how many real balls hold a generated sample, over k. coverage: real balls that hold
    any generated sample.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall_density_coverage(real: Tensor, generated: Tensor, *, k: int = 5) -> Manifolds:
    """Of features `[n, d]` and `[m, d]`; k is below both n and m."""
    fewest = min(len(real), len(generated))
    if k < 1 or k >= fewest:
        raise DataError(
            f"precision and recall look at {k} neighbors, and there are only {fewest} images on "
            "one side; give more images"
        )
    real, generated = real.double(), generated.double()
    real_radius, generated_radius = radii(real, k=k), radii(generated, k=k)
    inside = torch.zeros(len(generated), dtype=torch.bool, device=real.device)
    balls = torch.zeros(len(generated), dtype=torch.int64, device=real.device)
    recalled, covered = [], []
    for rows, distance in _blocks(real, generated):
        radius = real_radius[rows, None]
        inside |= (distance <= radius).any(0)
        balls += (distance < radius).sum(0)
        covered.append(distance.min(1).values < real_radius[rows])
        recalled.append((distance <= generated_radius).any(1))
    return Manifolds(
        precision=float(inside.double().mean()),
        recall=float(torch.cat(recalled).double().mean()),
        density=float(balls.double().mean() / k),
        coverage=float(torch.cat(covered).double().mean()),
    )


def radii(features: Tensor, *, k: int) -> Tensor:
    """`[n]`: the distance of each sample to its k-th nearest other one."""
    found = []
    for rows, distance in _blocks(features, features):
        own = torch.arange(rows.start, rows.stop, device=features.device)
        distance[torch.arange(len(own), device=features.device), own] = torch.inf
        found.append(distance.kthvalue(k, dim=1).values)
    return torch.cat(found)


def _blocks(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """(rows of x, their distances to all of y)."""
    for start in range(0, len(x), BLOCK):
        rows = slice(start, min(start + BLOCK, len(x)))
        yield rows, torch.cdist(x[rows], y)


def prdc(reference: Side, generated: Side, settings: Settings) -> dict[str, float]:
    """The row `prdc`: four numbers from 0 to 1 (density may be above)."""
    real, fake = both_features(reference, generated, "prdc")
    most = settings.most
    return vars(precision_recall_density_coverage(real[:most], fake[:most], k=settings.neighbors))
