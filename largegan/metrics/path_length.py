"""Perceptual path length: how far images move for a small step between two latents.

Karras et al., "A Style-Based Generator Architecture", 2019, section 4.1: the mean over pairs of
latents of d(G(at t), G(at t + eps)) / eps^2, without the outermost percentiles.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Path = Callable[[Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class PathLength:
    """`kept` `[n]` are the lengths within the percentiles, in the order of the pairs."""

    mean: float
    deviation: float
    kept: Tensor


def straight(a: Tensor, b: Tensor, t: float) -> Tensor:
    """On a line from `a` to `b`, both `[n, z_dim]`."""
    return torch.lerp(a, b, t)


def along_arc(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Spherical interpolation of vectors of any lengths; along a line where they are collinear."""
    u, v = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    cosine = (u * v).sum(-1, keepdim=True)
    angle = torch.arccos(cosine.clamp(-1, 1))
    sine = torch.sin(angle)
    arc = (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / sine
    collinear = (cosine.abs() > 1 - 1e-7) | (sine == 0)
    return torch.where(collinear, torch.lerp(a, b, t), arc)


def along_unit_arc(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Spherical interpolation, scaled to unit length."""
    return F.normalize(along_arc(a, b, t), dim=-1)


def path_lengths(
    generate: Callable[[Tensor], Tensor],
    distance: Callable[[Tensor, Tensor], Tensor],
    z0: Tensor,
    z1: Tensor,
    *,
    path: Path = straight,
    step: float = 1e-4,
) -> Tensor:
    """`[n]`: of pairs of latents `[n, z_dim]`, at their beginning.

    Args:
        generate: latents to images `[n, C, H, W]`.
        distance: of two batches of images, `[n]`.
        path: where between two latents the second image is.
        step: how far along it.
    """
    moved = distance(generate(z0), generate(path(z0, z1, step)))
    return moved / step**2


def within_percentiles(lengths: Tensor, *, low: float = 1, high: float = 99) -> PathLength:
    """Mean and deviation of `lengths` `[n]` from the `low` to the `high` percentile, inclusive."""
    values = lengths.double().cpu().numpy()
    least = np.percentile(values, low, method="lower")
    most = np.percentile(values, high, method="higher")
    kept = values[(values >= least) & (values <= most)]
    return PathLength(float(kept.mean()), float(kept.std()), torch.from_numpy(kept))
