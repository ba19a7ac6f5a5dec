"""Mean and covariance of features in one pass: float64 sums, never the features themselves.

Sums are kept for a number of consecutive chunks of the samples, so that a score can be had
without each chunk in turn (its standard error) and for the first few (its limit for many samples).
Only the chunk that is being filled lies in memory; finished ones wait in a scratch file where
TMPDIR points (20 chunks of 2048 features: 670 MB), which had better not be a disk in memory.
Of few samples the features themselves are kept instead: they are smaller than one sum.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

import torch
from torch import Tensor

CHUNKS = 20
ROWS = 1024  # added at a time: a product of fewer rows waits for the memory of the sum
BLOCK = 256  # columns of a block of the sum: what lies under its diagonal blocks is not computed
AddUp = Callable[[Tensor], Tensor]  # the sum of a tensor over all processes


@dataclass(frozen=True)
class Gaussian:
    """What a Fréchet distance knows of a set: float64 mean `[d]` and covariance `[d, d]`.

    `count` samples went into it; None when a foreign file does not say.
    """

    mean: Tensor
    covariance: Tensor
    count: int | None = None

    @property
    def dim(self) -> int:
        return len(self.mean)

    @property
    def singular(self) -> bool:
        """Whether there are too few samples for a covariance of full rank."""
        return self.count is not None and self.count <= self.dim


@dataclass
class Sums:
    """n, sum of x `[d]`, sum of its outer products `[d, d]`, of a part of the samples.

    Of the products only those on and above the diagonal count.
    """

    count: int
    first: Tensor
    second: Tensor

    @classmethod
    def zeros(cls, dim: int, device: torch.device | str = "cpu") -> "Sums":
        zeros = torch.zeros(dim + 1, dim, dtype=torch.float64, device=device)
        return cls(0, zeros[0], zeros[1:])

    def add_rows(self, rows: Tensor) -> None:
        """Features `[n, d]` of any floating type."""
        rows = rows.to(self.first.device, torch.float64)
        self.count += len(rows)
        self.first.add_(rows.sum(0))
        for start in range(0, len(self.first), BLOCK):
            block = rows[:, start : start + BLOCK].T
            self.second[start : start + BLOCK, start:].addmm_(block, rows[:, start:])

    def add(self, other: "Sums", *, sign: int = 1) -> None:
        self.count += sign * other.count
        self.first.add_(other.first, alpha=sign)
        self.second.add_(other.second, alpha=sign)

    def cleared(self) -> "Sums":
        """This memory, as zeros."""
        return Sums(0, self.first.zero_(), self.second.zero_())

    def clone(self) -> "Sums":
        return Sums(self.count, self.first.clone(), self.second.clone())

    def gaussian(self) -> Gaussian:
        """With the unbiased covariance (division by n - 1), as numpy.cov."""
        n, mean = self.count, self.first / self.count
        covariance = self.second.addr(mean, mean, alpha=-n).div_(n - 1)
        mirror(covariance)
        return Gaussian(mean, covariance, n)


def mirror(square: Tensor) -> None:
    """Replaces what lies under the diagonal by what lies above it, in place and block by block."""
    for start in range(0, len(square), BLOCK):
        end = start + BLOCK
        own = square[start:end, start:end].triu()
        square[start:end, start:end] = own + own.triu(1).T
        square[end:, start:end] = square[start:end, end:].T


class Moments:
    """Adds up features `[n, dim]` that come in the order of their numbers.

    Args:
        dim: features per sample.
        total: samples of all processes together; number i is of chunk i * chunks // total.
        chunks: 1 for plain moments.
        device: where to add; results are on the host.
    """

    def __init__(
        self, dim: int, total: int, *, chunks: int = CHUNKS, device: torch.device | str = "cpu"
    ):
        self.dim, self.total = dim, total
        self.chunks = max(1, min(chunks, total // 2))
        self.current = 0
        self.counts = [0] * self.chunks
        self.waiting: list[Tensor] = []
        self.kept: list[Tensor] | None = [] if total <= 2 * dim else None  # a chunk each
        self.open = Sums.zeros(dim if self.kept is None else 0, device)
        self.scratch = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this object

    def add(self, features: Tensor, first: int) -> None:
        """Features of samples `first`, `first + 1`, ...; numbers only ever grow."""
        start = 0
        while start < len(features):
            chunk = (first + start) * self.chunks // self.total
            end = -(-(chunk + 1) * self.total // self.chunks) - first  # where the next one begins
            self._turn_to(chunk)
            part = features[start:end]
            self.waiting.append(part.clone())  # the caller may fill its memory anew
            self.counts[chunk] += len(part)
            if self.kept is None and sum(map(len, self.waiting)) >= ROWS:
                self._add_waiting()
            start = end

    def finish(self, add_up: AddUp | None = None) -> "Chunks":
        """The sums over all processes, which call this together."""
        self._turn_to(self.chunks)
        if self.kept is not None:
            few = FewSamples(self.dim, self.counts, self.kept)
            if add_up is None:
                return few
            for part in few:
                self._write(part)
        chunks = Chunks(self.dim, self.counts, self.scratch)
        if add_up is not None:
            chunks.add_up(add_up)
        return chunks

    def _turn_to(self, chunk: int) -> None:
        """Puts finished chunks away, the empty ones between them too."""
        if not self.current <= chunk <= self.chunks:
            raise ValueError(f"chunk {chunk} of {self.chunks} after chunk {self.current}")
        while self.current < chunk:
            if self.kept is None:
                self._add_waiting()
                self._write(self.open)
                self.open = self.open.cleared()
            else:
                self.kept.append(self._waiting())
            self.current += 1

    def _add_waiting(self) -> None:
        self.open.add_rows(self._waiting())

    def _waiting(self) -> Tensor:
        """All rows that wait, which then wait no more."""
        empty = torch.zeros(0, self.dim)
        rows, self.waiting = torch.cat(self.waiting) if self.waiting else empty, []
        return rows

    def _write(self, sums: Sums) -> None:
        self.scratch.write(_bytes(sums.first))
        self.scratch.write(_bytes(sums.second))


class Chunks:
    """Finished sums of consecutive parts of the samples, read from their file one at a time."""

    def __init__(self, dim: int, counts: list[int], file: IO[bytes]):
        self.dim, self.counts, self.file = dim, counts, file

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, chunk: int) -> Sums:
        if not 0 <= chunk < len(self):
            raise IndexError(chunk)
        self.file.seek(chunk * self._bytes)
        both = torch.frombuffer(bytearray(self.file.read(self._bytes)), dtype=torch.float64)
        both = both.view(self.dim + 1, self.dim)
        return Sums(self.counts[chunk], both[0], both[1:])

    def __iter__(self) -> Iterator[Sums]:
        return (self[chunk] for chunk in range(len(self)))

    @property
    def count(self) -> int:
        return sum(self.counts)

    def whole(self) -> Sums:
        """Everything added up."""
        total = Sums.zeros(self.dim)
        for part in self:
            total.add(part)
        return total

    def add_up(self, add_up: AddUp) -> None:
        """Replaces every chunk by its sum over all processes."""
        self.counts = [int(n) for n in add_up(torch.tensor(self.counts, dtype=torch.float64))]
        for chunk in range(len(self)):
            part = self[chunk]
            both = add_up(torch.cat([part.first[None], part.second]))
            self.file.seek(chunk * self._bytes)
            self.file.write(_bytes(both))

    @property
    def _bytes(self) -> int:
        return (self.dim + 1) * self.dim * 8


class FewSamples(Chunks):
    """Chunks of so few samples that their features are at hand: summed up when asked for."""

    def __init__(self, dim: int, counts: list[int], rows: list[Tensor]):
        self.dim, self.counts, self.rows = dim, counts, rows

    def __getitem__(self, chunk: int) -> Sums:
        return self._sums(self.rows[chunk])

    def whole(self) -> Sums:
        return self._sums(torch.cat(self.rows))

    def _sums(self, rows: Tensor) -> Sums:
        sums = Sums.zeros(self.dim)
        sums.add_rows(rows.cpu())
        return sums


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.contiguous().cpu().numpy().data


def moments_of(features: Tensor, *, chunks: int = 1) -> Chunks:
    """Of features `[n, d]` that are all at hand."""
    moments = Moments(features.shape[1], len(features), chunks=chunks)
    moments.add(features, 0)
    return moments.finish()


def gaussian_of(features: Tensor) -> Gaussian:
    """Mean and covariance of features `[n, d]`, n at least 2."""
    return moments_of(features).whole().gaussian()
