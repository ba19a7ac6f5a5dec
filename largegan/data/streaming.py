"""Reading shards front to back: for remote shards, and for shards without an index.

The order is that of shards shuffled by (seed, epoch), dealt to the ranks, and shuffled again in
chunks of ``CHUNK`` samples. It is exact on resume for the same number of ranks; with another
number the images of a batch differ. webdataset opens the remote schemes, but its readers end
without a word at a damaged header, so the members are walked here.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.utils.data import IterableDataset

from largegan.data.decode import BadImage, decode_into
from largegan.data.index import DataInfo
from largegan.data.micros import Answer, RankShare, answer
from largegan.data.plan import permutation
from largegan.data.policy import SkipPolicy
from largegan.data.remote import open_shard
from largegan.data.samples import Sample, damaged, group, stop
from largegan.data.tar import TarDamage, walk
from largegan.errors import ConfigError, DataError

log = logging.getLogger(__name__)
CHUNK = 1000
LEAST_TOTAL = 10_000  # without an index, the skip fraction refers to at least so many samples


@dataclasses.dataclass
class StreamedSource:
    """Shards that can only be read in sequence. ``counts`` is None without a reachable index.

    ``learned`` holds the counts of shards that were read to their end, so that a run that resumes
    steps over them.
    """

    info: DataInfo
    urls: list[str]
    policy: SkipPolicy
    counts: list[int] | None = None
    cache_dir: str | None = None
    former_identities: tuple[str, ...] = ()  # those of runs from before identities knew more
    learned: dict[int, int] = dataclasses.field(default_factory=dict)

    def count_of(self, shard: int) -> int | None:
        """Samples of a shard, where that is known."""
        return self.learned.get(shard) if self.counts is None else self.counts[shard]

    def learn(self, total: Callable[[torch.Tensor], torch.Tensor] | None) -> None:
        """Takes over what other ranks have counted; `total` adds tensors over them, None: alone."""
        if total is None or self.counts is not None:
            return
        known = torch.zeros(2, len(self.urls), dtype=torch.int64)  # counts, and who knows them
        for shard, count in self.learned.items():
            known[0, shard], known[1, shard] = count, 1
        counts, ranks = total(known)
        for shard in torch.nonzero(ranks).flatten().tolist():
            self.learned[shard] = int(counts[shard] // ranks[shard])

    def __post_init__(self) -> None:
        self.policy.total = self.info.count or LEAST_TOTAL

    def samples(self, shard: int) -> Iterator[Sample]:
        """Samples of one shard; damage raises DataError, or ends the shard under the policy."""
        url, found = self.urls[shard], 0
        try:
            for sample in read_shard(url, cache_dir=self.cache_dir, report=self._report):
                found += 1
                yield sample
            if self.counts is not None and found != self.counts[shard]:
                raise DataError(
                    f"shard {url} gave {found} of {self.counts[shard]} samples; fetch or pack it "
                    "again"
                )
            if self.counts is None:
                self.learned[shard] = found
        except DataError as error:
            if self.policy.on_error == "raise":
                raise
            log.warning("%s", error)
            self.policy.bad_shards += 1

    def _report(self, error: DataError) -> None:
        """A sample that breaks the format's rules: stop, or leave it out and count it."""
        if self.policy.on_error == "raise":
            raise error
        log.warning("%s", error)
        self.policy.lost += 1


def read_shard(
    url: str, *, cache_dir: str | None = None, report: Callable[[DataError], None] = stop
) -> Iterator[Sample]:
    """Samples of one shard from front to back; raises DataError."""
    try:
        with open_shard(url, cache_dir=cache_dir) as file:
            yield from group(walk(file, want=lambda _: True), shard=url, report=report)
    except TarDamage as error:
        raise damaged(url, error) from error


def check_shard_count(shards: int, world: int) -> None:
    """Every process needs a shard of its own to stream; raises ConfigError."""
    if shards < world:
        raise ConfigError(
            f"{shards} shards cannot be streamed by {world} processes; pack with --shard-count, "
            "or read with an index (mode indexed)"
        )


class StreamedMicros(IterableDataset):
    """This rank's micro-batches, for ever."""

    def __init__(self, source: StreamedSource, share: RankShare, position: int, *, seed: int):
        check_shard_count(len(source.urls), share.world)
        self.source, self.share, self.position, self.seed = source, share, position, seed

    def __iter__(self) -> Iterator[Answer]:
        samples = self._shuffled()
        while True:
            reply = answer(lambda: self._micro(samples), self.source.policy)
            reply.counts = dict(self.source.learned)
            yield reply

    def _micro(self, samples: Iterator[tuple]) -> dict[str, torch.Tensor]:
        info, n = self.source.info, self.share.micro_batch_size
        images = np.empty((n, info.height, info.width, info.channels), np.uint8)
        labels, numbers = np.zeros(n, np.int64), np.empty(n, np.int64)
        for k in range(n):
            chunk, place, first = next(samples)
            labels[k], numbers[k] = self._decode(chunk, place, first, images[k])
        return {
            "image": torch.from_numpy(images).permute(0, 3, 1, 2),
            "label": torch.from_numpy(labels),
            "index": torch.from_numpy(numbers),
        }

    def _decode(self, chunk: list, place: int, first: int, out: np.ndarray) -> tuple[int, int]:
        """Decode one sample of a chunk, or under the skip policy the next readable one."""
        for attempt in range(len(chunk)):
            shard, sample = chunk[(place + attempt) % len(chunk)]
            number = first + (place + attempt) % len(chunk)
            try:
                label = self._label(sample)
                decode_into(sample.image.data, out)
                return label, number
            except BadImage as error:
                sentence = (
                    f"member {sample.name} in shard {self.source.urls[shard]} {error}; correct it "
                    "and pack the dataset again, or set on_error to skip"
                )
                self.source.policy.skip(number, DataError(sentence))
        raise DataError(f"none of {len(chunk)} samples in a row could be read; check the shards")

    def _label(self, sample: Sample) -> int:
        classes = self.source.info.num_classes
        if not classes:
            return 0
        if sample.label is None:
            raise BadImage("has no label, but the dataset has classes")
        if sample.label >= classes:
            raise BadImage(f"has label {sample.label}, but the classes are 0 to {classes - 1}")
        return sample.label

    def _shuffled(self) -> Iterator[tuple[list, int, int]]:
        """(chunk, place in it, number of the chunk's first sample) for every sample to draw.

        The chunk number seeds its order, so that resuming reads one chunk again and no more.
        """
        number, skip = divmod(self.share.drawn(self.position), CHUNK)
        sequence = self._sequence(number * CHUNK)
        while True:
            chunk = [next(sequence) for _ in range(CHUNK)]
            order = permutation(
                CHUNK, seed=self.seed, epoch=number, stream=(1 << 32) + self.share.rank
            )
            for place in order[skip:].tolist():
                yield chunk, place, number * CHUNK
            number, skip = number + 1, 0

    def _sequence(self, skip: int) -> Iterator[tuple[int, Sample]]:
        """The rank's samples in the order of their shards, for ever, after the first ``skip``."""
        source, epoch = self.source, 0
        while True:
            order = permutation(len(source.urls), seed=self.seed, epoch=epoch, stream=0)
            seen = 0
            for shard in order[self.share.rank :: self.share.world].tolist():
                known = source.count_of(shard)
                if known is not None and skip >= known:
                    skip, seen = skip - known, seen + 1
                    continue
                for sample in source.samples(shard):
                    seen += 1
                    if skip:
                        skip -= 1
                    else:
                        yield shard, sample
            if not seen:
                raise DataError(f"no sample could be read from the {len(source.urls)} shards")
            epoch += 1
