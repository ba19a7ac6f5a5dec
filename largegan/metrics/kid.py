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

BLOCK = 512  # rows of pairs at a time: 100 MB against 50,000 images


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
        kernel = _Kernel(degree, scale, offset, chunks)
        exact = torch.promote_types(real.dtype, torch.float32)
        real, generated = real.to(exact), generated.to(exact)
        self.sizes = [[len(part) for part in x.tensor_split(chunks)] for x in (real, generated)]
        self.within, self.among = kernel.own_sums(real), kernel.own_sums(generated)
        self.across = kernel.sums(real, generated)

    def distance(self, *, without: int | None = None) -> float:
        reals, fakes = self.sizes
        keep = [i for i in range(len(reals)) if i != without]
        n, m = sum(reals[i] for i in keep), sum(fakes[i] for i in keep)
        within, among, across = (
            float(s[keep][:, keep].sum()) for s in (self.within, self.among, self.across)
        )
        return within / (n * (n - 1)) + among / (m * (m - 1)) - 2 * across / (n * m)


@dataclass(frozen=True)
class _Kernel:
    """Sums of (scale * x·y + offset)^degree over pairs of samples, in float64.

    Both samples lie in `chunks` parts; sums are `[chunks, chunks]`, on the host. Products are taken
    in the type of the features: of float32 a product is off by a ten-millionth and to either side,
    which in the mean over pairs is nothing beside a distance's standard error.
    """

    degree: int
    scale: float
    offset: float
    chunks: int

    def sums(self, x: Tensor, y: Tensor) -> Tensor:
        """Of all pairs, x's chunk first."""
        found, (rows, columns) = self._zeros(x), (self._chunk_of_each(v) for v in (x, y))
        for start in range(0, len(x), BLOCK):
            block = slice(start, start + BLOCK)
            _add(found, self._values(x[block], y), rows[block], columns)
        return found.cpu()

    def own_sums(self, x: Tensor) -> Tensor:
        """Of all pairs of two samples of x; each pair is computed once and counts twice."""
        found, of = self._zeros(x), self._chunk_of_each(x)
        for start in range(0, len(x), BLOCK):
            end = start + BLOCK
            values = self._values(x[start:end], x[start:])
            own, later = values[:, :BLOCK], values[:, BLOCK:]
            own.diagonal().zero_()  # a sample and itself
            _add(found, own, of[start:end], of[start:end])
            twice = self._zeros(x)
            _add(twice, later, of[start:end], of[end:])
            found += twice + twice.T
        return found.cpu()

    def _values(self, x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T).mul_(self.scale).add_(self.offset).pow_(self.degree)

    def _zeros(self, x: Tensor) -> Tensor:
        return torch.zeros(self.chunks, self.chunks, dtype=torch.float64, device=x.device)

    def _chunk_of_each(self, x: Tensor) -> Tensor:
        sizes = [len(part) for part in x.tensor_split(self.chunks)]
        return torch.arange(self.chunks).repeat_interleave(torch.tensor(sizes)).to(x.device)


def _add(sums: Tensor, values: Tensor, rows: Tensor, columns: Tensor) -> None:
    """Adds `values[i, j]` to `sums[rows[i], columns[j]]`; `rows` ascends."""
    chunks, sizes = rows.unique_consecutive(return_counts=True)
    for chunk, part in zip(chunks.tolist(), values.split(sizes.tolist()), strict=True):
        sums[chunk].index_add_(0, columns, part.sum(0, dtype=torch.float64))


def kid(reference: Side, generated: Side, settings: Settings) -> dict[str, float | None]:
    """The row `kid`: a distance and its standard error."""
    found = kernel_estimate(*both_features(reference, generated, "kid"))
    return {"kid": found.distance, "kid_error": found.error}
