"""The order of the data, as a pure function of seed, epoch and position.

Position p of a run is sample ``order(epoch)[p % N]`` of epoch ``p // N``: a global batch may cross
an epoch's end, so no sample is lost or repeated within an epoch. Which rank or worker reads a
position never matters here, which is why any number of them draws the same batches.

Within an epoch the shards are permuted and taken in windows; the samples of a window are permuted
together. So a rank touches a few shards at a time (kind to caches and cold disks) and only one
window is ever laid out (kind to memory, and the reason why resuming anywhere is instant).
"""

from collections import OrderedDict
from typing import NamedTuple

import numpy as np

WINDOW_SHARDS = 8
KEPT_WINDOWS = 4  # a global batch may straddle two; the rest saves work when ranks share a process


class _Epoch(NamedTuple):
    number: int
    shards: np.ndarray  # [S] shard numbers in this epoch's order
    ends: np.ndarray  # [ceil(S / WINDOW_SHARDS)] position within the epoch where each window ends


class OrderPlan:
    """Infinite sequence of sample indices 0..N-1 over shards of the given sizes."""

    def __init__(self, counts: np.ndarray, *, seed: int):
        self.counts = np.asarray(counts, dtype=np.int64)  # [S] samples per shard
        self.starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]])  # index of a shard's first
        self.total = int(self.counts.sum())
        self.seed = seed
        self._epoch: _Epoch | None = None
        self._windows: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()

    def indices(self, start: int, stop: int) -> np.ndarray:
        """Sample indices of positions start..stop-1 of the run, int64 [stop - start]."""
        pieces, position = [], start
        while position < stop:
            epoch, place = divmod(position, self.total)
            piece = self._from_window(epoch, place)[: stop - position]
            pieces.append(piece)
            position += len(piece)
        return np.concatenate(pieces) if pieces else np.empty(0, np.int64)

    def _from_window(self, number: int, place: int) -> np.ndarray:
        """The rest of the window that holds position ``place`` of an epoch, from that place on."""
        epoch = self._epoch_order(number)
        window = int(np.searchsorted(epoch.ends, place, side="right"))
        begin = int(epoch.ends[window - 1]) if window else 0
        return self._window_order(epoch, window)[place - begin :]

    def _epoch_order(self, number: int) -> _Epoch:
        if self._epoch is None or self._epoch.number != number:
            shards = permutation(len(self.counts), seed=self.seed, epoch=number, stream=0)
            sizes = np.cumsum(self.counts[shards])
            last = np.arange(WINDOW_SHARDS, len(shards) + WINDOW_SHARDS, WINDOW_SHARDS)
            ends = sizes[np.minimum(last, len(shards)) - 1]
            self._epoch = _Epoch(number, shards, ends)
        return self._epoch

    def _window_order(self, epoch: _Epoch, window: int) -> np.ndarray:
        key = (epoch.number, window)
        if key not in self._windows:
            shards = epoch.shards[window * WINDOW_SHARDS : (window + 1) * WINDOW_SHARDS]
            samples = np.concatenate(
                [np.arange(self.starts[s], self.starts[s] + self.counts[s]) for s in shards]
            )
            order = permutation(len(samples), seed=self.seed, epoch=epoch.number, stream=window + 1)
            self._windows[key] = samples[order]
            while len(self._windows) > KEPT_WINDOWS:
                self._windows.popitem(last=False)
        return self._windows[key]


def permutation(size: int, *, seed: int, epoch: int, stream: int) -> np.ndarray:
    """A random permutation of 0..size-1 that never changes with the numpy release.

    numpy freezes the raw output of a bit generator, but not what Generator.permutation makes of
    it; a run has to resume under another numpy. So the raw words are sorted here.
    """
    bits = np.random.Philox(key=[seed % 2**64, epoch], counter=[0, 0, 0, stream])
    return np.argsort(bits.random_raw(size), kind="stable")


def coin_flips(seed: int, positions: np.ndarray) -> np.ndarray:
    """Fair coin flips, bool, one per position: the same for every rank, worker and micro-batch."""
    return (mix(positions, seed=seed) >> np.uint64(63)).astype(bool)


def offsets(seed: int, positions: np.ndarray, most: tuple[int, int]) -> np.ndarray:
    """Where to cut: int64 [n, 2] rows and columns from 0 to ``most``, alike for every rank."""
    words = mix(positions, seed=seed + 1)  # not the word that the coin was flipped with
    rows, columns = words >> np.uint64(32), words & np.uint64(0xFFFFFFFF)
    choices = np.array(most, dtype=np.uint64) + np.uint64(1)
    return (np.stack([rows, columns], 1) % choices).astype(np.int64)


def mix(numbers: np.ndarray, *, seed: int) -> np.ndarray:
    """Hash integers to well-mixed uint64 words (the finalizer of SplitMix64, public domain)."""
    x = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x = x + np.uint64((seed * 0xD1342543DE82EF95 + 0x9E3779B97F4A7C15) % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
