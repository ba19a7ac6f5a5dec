"""A look at samples now and then: how varied they are, whether they repeat themselves or others.

Images are compared in a small space, their colors on a grid of 16 x 16: cheap on any machine, and
enough to see the same picture twice. Everything here is a function of two sets of images.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

GRID = 16  # a side of what is compared
TWIN = 0.2  # of the distance that real images have to their nearest neighbors: the same picture
NEIGHBORS = 5
TINY = 1e-12
COPY = 1 / 3  # of a training image's distance to its own nearest neighbor


def features(examples: Tensor) -> Tensor:
    """float64 `[N, D]` on the host, of images `[N, C, H, W]` or numbers `[N, 1]`.

    The distance of two is the root of the mean squared difference.
    """
    x = examples.float()
    if x.dim() == 4:
        side = (min(GRID, x.shape[2]), min(GRID, x.shape[3]))
        x = F.adaptive_avg_pool2d(x, side)
    x = x.flatten(1).cpu().double()
    return x / x.shape[1] ** 0.5


@dataclass(frozen=True)
class Reals:
    """Training examples that samples are compared with."""

    points: Tensor  # features [M, D]
    labels: Tensor | None  # int64 [M]
    nearest: Tensor  # [M], each one's distance to the nearest other
    radius: Tensor  # [M], how far its neighborhood reaches
    spread: float  # mean distance of two of them
    chance: float  # share of unseen examples that would pass for copies
    twin: float  # below this, two samples are the same picture
    lost: float  # energy distance of their mean image, repeated


def reals_of(points: Tensor, labels: Tensor | None, *, count: int) -> Reals:
    """What is known of the training examples once; `count` is how many samples a look has.

    How near the nearest other one is depends on how many there are: twins are told by as many.
    """
    within = distances(points, points)
    part = points[:: -(-len(points) // count)]
    center = points.mean(0, keepdim=True)
    spread = float(mean_of_pairs(within))
    # So many that samples of the same distribution would come near to nearly all.
    neighbors = max(NEIGHBORS, round(NEIGHBORS * len(points) / count))
    return Reals(
        points,
        labels,
        nearest=off_diagonal_min(within),
        radius=within.kthvalue(min(neighbors, len(points) - 1) + 1, 1).values,  # 1: itself
        spread=spread,
        chance=copied(points[1::2], points[::2]) if len(points) > 2 else 0.0,
        twin=TWIN * float(off_diagonal_min(distances(part, part)).median()),
        lost=max(2 * float(distances(points, center).mean()) - spread, TINY),
    )


def look(samples: Tensor, reals: Reals, *, asked: Tensor | None, copies: bool) -> dict[str, float]:
    """What `signals.SIGNALS` says of samples, without the prefix.

    Args:
        samples: features `[N, D]`.
        asked: the classes that were asked for, int64 `[N]`.
        copies: whether training images are not what the generator is given to make.
    """
    within, across = distances(samples, samples), distances(samples, reals.points)
    energy = 2 * float(across.mean()) - float(mean_of_pairs(within)) - reals.spread
    found = {
        "diversity": float(mean_of_pairs(within)) / max(reals.spread, TINY),
        "duplicates": float((off_diagonal_min(within) < reals.twin).float().mean()),
        "distance": max(energy, 0.0) / reals.lost,
    }
    found["coverage"] = float((across.amin(0) < reals.radius).float().mean())
    if copies:
        more = copied(samples, reals.points, reals.nearest) - reals.chance
        found["copies"] = max(0.0, more) / max(1 - reals.chance, TINY)
    if reals.labels is not None:
        found["class_entropy"] = entropy(reals.labels[across.argmin(1)]) / max(
            entropy(reals.labels), TINY
        )
    if asked is not None:
        found |= by_class(samples, asked, reals)
    return found


def copied(samples: Tensor, points: Tensor, gaps: Tensor | None = None) -> float:
    """The share of samples that lie near an example as no other example does.

    `gaps` are the distances of `points` to each other's nearest, where they are known.
    """
    gaps = off_diagonal_min(distances(points, points)) if gaps is None else gaps
    nearest, which = distances(samples, points).min(1)
    return float((nearest < COPY * gaps[which]).float().mean())


def by_class(samples: Tensor, asked: Tensor, reals: Reals) -> dict[str, float]:
    """Diversity within each class that was asked for, compared with that of its real images."""
    found = {}
    for label in asked.unique().tolist():
        own, theirs = samples[asked == label], reals.points
        if reals.labels is not None:
            theirs = theirs[reals.labels == label]
        if len(own) > 1 and len(theirs) > 1:
            spread = float(mean_of_pairs(distances(theirs, theirs)))
            if spread > 0:
                within = float(mean_of_pairs(distances(own, own)))
                found[f"diversity/{label}"] = within / spread
    return {"diversity_worst_class": min(found.values()), **found} if found else {}


def distances(x: Tensor, y: Tensor) -> Tensor:
    """`[N, M]`, by a product of matrices: in float64, or small distances would be rounded away."""
    return torch.cdist(x, y)


def mean_of_pairs(within: Tensor) -> Tensor:
    """The mean of distances `[N, N]` of two different ones."""
    n = len(within)
    return within.sum() / max(n * (n - 1), 1)


def off_diagonal_min(within: Tensor) -> Tensor:
    """`[N]`: the distance to the nearest other one."""
    diagonal = torch.eye(len(within), dtype=torch.bool, device=within.device)
    return within.masked_fill(diagonal, torch.inf).amin(1)


def entropy(labels: Tensor) -> float:
    """In nats, of how often each class occurs."""
    shares = labels.bincount().float() / len(labels)
    shares = shares[shares > 0]
    return float(-(shares * shares.log()).sum())
