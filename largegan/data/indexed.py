"""Random access to indexed shards: a memory map per shard, images decoded into one batch."""

import copy
import mmap
from collections import OrderedDict
from collections.abc import Callable, Sequence
from math import gcd
from pathlib import Path

import numpy as np
import torch

from largegan.data.decode import decode_into
from largegan.data.decoded import DecodedCache
from largegan.data.index import LABEL, OFFSET, OFFSET_B, SIZE, SIZE_B, Index
from largegan.data.latents import decode_latent_into
from largegan.data.policy import SkipPolicy
from largegan.data.tar import member_at
from largegan.errors import DataError, shown
from largegan.files.photos import BadImage

OPEN_SHARDS = 64  # each memory map holds a file descriptor
TRIES = 10  # to open a shard that others may remove
REPLACEMENTS = 1000  # candidates tried for one bad sample before giving up


class IndexedSource:
    """Samples of indexed shards by number. ``locate(i)`` gives the local file of shard i.

    The index costs 24 bytes of memory per sample, which forked workers share.
    """

    def __init__(self, index: Index, locate: Callable[[int], Path], *, policy: SkipPolicy):
        self.info = index.info()
        self.counts = np.array([shard.count for shard in index.shards])
        self.policy, self.conditions = policy, index.conditions
        self._shards = index.shards
        self._locate = locate
        self._starts = np.concatenate([[0], np.cumsum(self.counts)[:-1]])
        self._entries = np.concatenate(index.entries)  # [N, 3 or 5]
        self._images = {"image": (OFFSET, index.channels)}  # name: (column, channels)
        if index.channels_b:
            self._images = {
                "image_a": (OFFSET, index.channels),
                "image_b": (OFFSET_B, index.channels_b),
            }
        self._maps: OrderedDict[int, mmap.mmap] = OrderedDict()
        self.decoded: DecodedCache | None = None
        policy.total = self.info.count + policy.lost
        policy.check()

    def apart(self) -> "IndexedSource":
        """The same samples for another purpose: what it skips is counted apart from training's."""
        other = copy.copy(self)
        other.policy, other._maps = copy.deepcopy(self.policy), OrderedDict()
        return other

    def labels_of(self, numbers: Sequence[int]) -> list[int]:
        """The class of each sample, without reading any; -1 where it has none."""
        return self._entries[np.array(numbers), LABEL].tolist()

    def read(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        """Images uint8 (or uint16) [n, C, H, W] in channels-last memory, labels and indices int64.

        Latents are float32 [n, C, h, w], times their scale.
        They are called "image"; where samples are pairs, "image_a" and "image_b".
        A bad sample raises DataError, or under the skip policy is replaced by another that is a
        function of its index alone; "index" says which sample was really read. Without labels
        "label" is 0.
        """
        indices = np.array(indices, dtype=np.int64)  # a copy: replaced samples are written to it
        images = {
            name: self._empty_batch(len(indices), channels)
            for name, (_, channels) in self._images.items()
        }
        pixels = [batch.numpy() for batch in images.values()]
        shards = np.searchsorted(self._starts, indices, side="right") - 1
        rows = self._entries[indices].tolist()
        for k, (shard, row) in enumerate(zip(shards.tolist(), rows, strict=True)):
            outs = [batch[k] for batch in pixels]
            try:
                self._fill(int(indices[k]), shard, row, outs)
            except DataError as error:
                indices[k] = self._replace(int(indices[k]), outs, error)
        labels = np.maximum(self._entries[indices, LABEL], 0)
        return {
            **{name: self._as_read(batch) for name, batch in images.items()},
            "label": torch.from_numpy(labels),
            "index": torch.from_numpy(indices),
        }

    def _replace(self, index: int, outs: list[np.ndarray], error: DataError) -> int:
        """Fill ``outs`` from the sample that stands in for a bad one, and return its index.

        The step spreads the substitutes of neighbors over the dataset: a missing shard must not
        turn into a thousand copies of one image.
        """
        total = len(self._entries)
        step = max(1, int(total * 0.618))
        while gcd(step, total) > 1:
            step += 1
        for attempt in range(min(REPLACEMENTS, total)):
            candidate = (index + attempt * step) % total
            if attempt:
                shard = int(np.searchsorted(self._starts, candidate, side="right")) - 1
                try:
                    self._decode(shard, self._entries[candidate].tolist(), outs)
                    return candidate
                except DataError as another:
                    error = another
            self.policy.skip(candidate, error)
        raise DataError(f"no readable sample was found in {REPLACEMENTS} tries; {error}")

    def _fill(self, index: int, shard: int, row: list[int], outs: list[np.ndarray]) -> None:
        """The images of one sample, decoded now or before; raises DataError."""
        if self.decoded is not None and self.decoded.load(index, outs):
            return
        self._decode(shard, row, outs)
        if self.decoded is not None:
            self.decoded.store(index, outs)

    def _decode(self, shard: int, row: list[int], outs: list[np.ndarray]) -> None:
        """The images of one sample, into their places; raises DataError."""
        data = self._map(shard)
        for (column, _), out in zip(self._images.values(), outs, strict=True):
            offset, size = row[column : column + 2]
            try:
                self._decode_one(data[offset : offset + size], out)
            except BadImage as error:
                member = shown(member_at(self._locate(shard), offset))
                raise DataError(
                    f"member {member} in shard {self._shards[shard].name} {error}; replace the "
                    "image and pack again, or set on_error to skip"
                ) from error

    def _empty_batch(self, n: int, channels: int) -> torch.Tensor:
        height, width = self.info.height, self.info.width
        if self.info.latent_scale:
            return torch.empty(n, channels, height, width, dtype=torch.float16)
        dtype = torch.uint8 if self.info.depth == 8 else torch.uint16
        return _empty_batch((n, height, width, channels), dtype)

    def _decode_one(self, data: bytes | memoryview, out: np.ndarray) -> None:
        if self.info.latent_scale:
            decode_latent_into(data, out)
        else:
            decode_into(data, out)

    def _as_read(self, batch: torch.Tensor) -> torch.Tensor:
        if self.info.latent_scale:
            return batch.float().mul_(self.info.latent_scale)
        return batch.permute(0, 3, 1, 2)

    def _map(self, shard: int) -> mmap.mmap:
        found = self._maps.get(shard)
        if found is None:
            found = self._maps[shard] = self._new_map(shard)
            if len(self._maps) > OPEN_SHARDS:
                self._maps.popitem(last=False)
        return found

    def _new_map(self, shard: int) -> mmap.mmap:
        for attempt in range(TRIES):
            path = self._locate(shard)
            try:
                with path.open("rb") as file:
                    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except FileNotFoundError as error:  # another job made room in a cache
                if attempt == TRIES - 1:
                    raise DataError(f"shard {path} is gone; check the folder") from error
            except (OSError, ValueError) as error:
                raise DataError(
                    f"shard {path} cannot be opened ({error}); check the file and its permissions"
                ) from error

    def __getstate__(self) -> dict:
        # Maps do not travel to workers that are spawned.
        return {**self.__dict__, "_maps": OrderedDict(), "decoded": None}


def check_files(index: Index, paths: list[Path], *, policy: SkipPolicy) -> None:
    """Compare the shards on disk with the index before training; raises DataError.

    Under the skip policy the samples of a missing or truncated shard count as bad.
    """
    first = 0
    for shard, rows, path in zip(index.shards, index.entries, paths, strict=True):
        size = path.stat().st_size if path.is_file() else None
        if size != shard.bytes:
            error = _size_error(shard.name, size, shard.bytes)
            if policy.on_error == "raise" or (size or 0) > shard.bytes:
                raise error
            policy.bad_shards += 1
            ends = rows[:, OFFSET] + rows[:, SIZE]
            if rows.shape[1] == 5:
                ends = np.maximum(ends, rows[:, OFFSET_B] + rows[:, SIZE_B])
            missing = np.flatnonzero(ends > (size or 0))
            policy.bad.update((missing + first).tolist())
        first += shard.count


def _size_error(name: str, found: int | None, wanted: int) -> DataError:
    if found is None:
        return DataError(f"shard {name} of the index is missing; fetch or pack it again")
    if found < wanted:
        return DataError(
            f"shard {name} is truncated: {found} of {wanted} bytes; fetch or pack it again"
        )
    return DataError(
        f"shard {name} has {found} bytes, but its index says {wanted}; the index belongs to other "
        "data, so write it again with largegan verify --write-index"
    )


def _empty_batch(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """A batch of images; in a worker it lies in shared memory already, which saves a copy."""
    if torch.utils.data.get_worker_info() is None:
        # numpy asks for huge pages, torch does not: at 256 pixels that is 5 % of the time.
        return torch.from_numpy(np.empty(shape, np.uint8 if dtype == torch.uint8 else np.uint16))
    storage = torch.UntypedStorage._new_shared(int(np.prod(shape)) * dtype.itemsize)
    return torch.empty(0, dtype=dtype).set_(storage).reshape(shape)
