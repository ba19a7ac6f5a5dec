"""Kernel inception distance: the unbiased squared MMD of features, over all pairs.

Bińkowski et al., "Demystifying MMD GANs", 2018: kernel (x·y / d + 1)³. It has no bias for few
samples, so it may be negative. Published code averages over random subsets of 1000, which adds
noise of its own; here every pair counts once, in blocks.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from largegan.errors import DataError
from largegan.metrics.frechet import jackknife
from largegan.metrics.moments import CHUNKS
from largegan.metrics.side import Settings, Side, both_features

BLOCK = 4096  # rows of a block of pairs: 128 MiB of float64


@dataclass(frozen=True)
class KernelEstimate:
    """The distance, and its jackknife standard error over both sets (None for few samples)."""

    distance: float
    error: float | None = None


def kernel_distance(
    real: Tensor,
    generated: Tensor,
    *,
    degree: int = 3,
    scale: float | None = None,
    offset: float = 1.0,
) -> float:
    """Unbiased squared MMD of `[n, d]` and `[m, d]` with kernel (scale * x·y + offset)^degree.

    `scale` is 1 / d by default. Published code on a subset is this, on those rows.
    """
    return _Pairs(real, generated, 1, degree, scale, offset).distance()


def kernel_estimate(real: Tensor, generated: Tensor, *, chunks: int = CHUNKS) -> KernelEstimate:
    """The distance with its error bar."""
    chunks = min(chunks, len(real) // 2, len(generated) // 2)
    pairs = _Pairs(real, generated, max(chunks, 1), 3, None, 1.0)
    if chunks < 3:
        return KernelEstimate(pairs.distance())
    without = [pairs.distance(without=chunk) for chunk in range(chunks)]
    return KernelEstimate(pairs.distance(), jackknife(without))


def random_subset_distance(
    real: Tensor, generated: Tensor, *, subsets: int = 100, size: int = 1000, seed: int = 0
) -> float:
    """The mean over random subsets, as published code has it; here the same for the same seed."""
    size = min(size, len(real), len(generated))
    draw = torch.Generator().manual_seed(seed)
    total = 0.0
    for _ in range(subsets):
        x = real[torch.randperm(len(real), generator=draw)[:size]]
        y = generated[torch.randperm(len(generated), generator=draw)[:size]]
        total += kernel_distance(x, y)
    return total / subsets


class _Pairs:
    """Sums of the kernel over pairs, by the chunks that the two samples belong to."""

    def __init__(
        self,
        real: Tensor,
        generated: Tensor,
        chunks: int,
        degree: int,
        scale: float | None,
        offset: float,
    ):
        if min(len(real), len(generated)) < 2:
            raise DataError(
                f"a kernel distance needs at least 2 images on either side, and there are "
                f"{len(real)} and {len(generated)}"
            )
        scale = 1 / real.shape[1] if scale is None else scale
        self.real, self.generated = (
            list(x.double().tensor_split(chunks)) for x in (real, generated)
        )

        def sums(xs: list[Tensor], ys: list[Tensor]) -> Tensor:
            return torch.tensor(
                [[_kernel_sum(x, y, degree, scale, offset) for y in ys] for x in xs],
                dtype=torch.float64,
            )

        def diagonal(xs: list[Tensor]) -> Tensor:
            own = [(scale * x.square().sum(1) + offset).pow(degree).sum() for x in xs]
            return torch.diag(torch.stack(own).cpu())

        self.within = sums(self.real, self.real) - diagonal(self.real)
        self.among = sums(self.generated, self.generated) - diagonal(self.generated)
        self.across = sums(self.real, self.generated)

    def distance(self, *, without: int | None = None) -> float:
        keep = [i for i in range(len(self.real)) if i != without]
        n = sum(len(self.real[i]) for i in keep)
        m = sum(len(self.generated[i]) for i in keep)
        within, among, across = (
            float(s[keep][:, keep].sum()) for s in (self.within, self.among, self.across)
        )
        return within / (n * (n - 1)) + among / (m * (m - 1)) - 2 * across / (n * m)


def _kernel_sum(x: Tensor, y: Tensor, degree: int, scale: float, offset: float) -> float:
    total = 0.0
    for rows in x.split(BLOCK):
        for columns in y.split(BLOCK):
            total += float((rows @ columns.T).mul_(scale).add_(offset).pow_(degree).sum())
    return total


def kid(reference: Side, generated: Side, settings: Settings) -> dict[str, float | None]:
    """The row `kid`: a distance and its standard error."""
    found = kernel_estimate(*both_features(reference, generated, "kid"))
    return {"kid": found.distance, "kid_error": found.error}
