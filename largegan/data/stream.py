"""The infinite stream of micro-batches that one rank computes.

Global batch k is positions [kB, (k+1)B) of the order; its micro-batch j is the slice
[jM, (j+1)M), and rank r computes those with j % world == r. So the images of a batch depend
neither on the number of ranks nor on the number of workers, and the whole state is one position.
"""

import signal
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from largegan.data.index import DataInfo
from largegan.data.micros import Answer, RankShare, answer
from largegan.data.plan import OrderPlan, coin_flips, offsets
from largegan.data.policy import SkipPolicy
from largegan.data.streaming import StreamedMicros, StreamedSource
from largegan.errors import ConfigError, DataError, EnvironmentFault

PREFETCHED = 4  # micro-batches in flight per worker


class Source(Protocol):
    """What a stream draws from: samples by number (``read``), or shards front to back."""

    info: DataInfo
    policy: SkipPolicy


@runtime_checkable
class ReadByNumber(Protocol):
    """A source whose samples are read by number, in any order."""

    def read(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        """Samples of these numbers; "index" says which were really read."""


class Stream:
    """Draws a rank's ``share`` of global batches from a source, for ever.

    ``workers`` are processes that read ahead; 0 reads in the caller. With ``mirror`` each batch
    has "flip" (bool [n]), and with ``jitter`` (rows, columns) "crop" (int64 [n, 2]), offsets from
    0 to as much: functions of seed and position. ``may_change`` takes a state of other data.
    """

    def __init__(
        self,
        source: Source,
        share: RankShare,
        *,
        seed: int = 0,
        workers: int = 1,
        mirror: bool = False,
        jitter: tuple[int, int] | None = None,
        pin_memory: bool = False,
        may_change: bool = False,
    ):
        if workers < 0:
            raise ConfigError(f"{workers} workers are not possible; give 0 or more")
        self.source, self.share, self.workers = source, share, workers
        self.seed, self.mirror, self.jitter, self.pin_memory = seed, mirror, jitter, pin_memory
        self.may_change = may_change
        self.notes: list[str] = []  # what a resumed run should know
        self.position = 0  # images drawn so far by all ranks
        self._micros: Iterator | None = None

    @property
    def skipped(self) -> dict[str, int]:
        """Samples and shards that this rank found unusable so far."""
        policy = self.source.policy
        return {"samples": policy.samples, "shards": policy.bad_shards}

    def next_batch(self) -> list[dict[str, torch.Tensor]]:
        """This rank's micro-batches of the next global batch, in order; raises DataError."""
        if self._micros is None:
            self._micros = iter(self._loader())
        batch = [self._receive(start) for start in self.share.starts(self.position)]
        self.position += self.share.batch_size
        return batch

    def _receive(self, start: int) -> dict[str, torch.Tensor]:
        try:
            received = next(self._micros)
        except RuntimeError as error:  # the loader's own word for a worker that died
            if "DataLoader worker" not in str(error):
                raise
            raise EnvironmentFault(
                f"a data worker was killed ({str(error).splitlines()[0]}); it was probably out of "
                "memory or shared memory, so use fewer workers or smaller micro-batches"
            ) from error
        if received.fault is not None:
            self.close()  # workers outlive signals: one that is left over would be waited for
            raise received.fault
        self.source.policy.merge(received.bad, bad_shards=received.bad_shards, lost=received.lost)
        if isinstance(self.source, StreamedSource):
            self.source.learned |= received.counts
        micro = received.tensors()
        positions = np.arange(start, start + self.share.micro_batch_size)
        if self.mirror:
            micro["flip"] = torch.from_numpy(coin_flips(self.seed, positions))
        if self.jitter:
            micro["crop"] = torch.from_numpy(offsets(self.seed, positions, self.jitter))
        return micro

    def _loader(self) -> DataLoader:
        sampler, workers = None, self.workers
        if isinstance(self.source, StreamedSource):
            workers = min(workers, 1)  # a second reader would change the order
            dataset = StreamedMicros(self.source, self.share, self.position, seed=self.seed)
        else:
            plan = OrderPlan(self.source.counts, seed=self.seed)
            dataset, sampler = _Micros(self.source), _Order(plan, self.share, self.position)
        return DataLoader(
            dataset,
            batch_size=None,
            sampler=sampler,
            num_workers=workers,
            prefetch_factor=PREFETCHED if workers else None,
            pin_memory=self.pin_memory,
            # Its own, so that making an iterator does not draw from the global generator.
            generator=torch.Generator().manual_seed(0),
            worker_init_fn=_outlive_signals,
        )

    def state_dict(self) -> dict[str, Any]:
        """Enough to go on exactly, also with another world size.

        The same on every rank, but for "learned": counts of the shards without an index that this
        rank has read, which save it from reading them again.
        """
        state = {
            "position": self.position,
            "seed": self.seed,
            "identity": self.source.info.identity,
            "count": self.source.info.count,
        }
        if isinstance(self.source, StreamedSource) and self.source.learned:
            state["learned"] = {str(k): n for k, n in sorted(self.source.learned.items())}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state. The seed of the state is taken over: it defines the order.

        An identity of None fits any data: what was imported has seen others elsewhere.
        """
        streamed = isinstance(self.source, StreamedSource)
        former = self.source.former_identities if streamed else ()
        if state["identity"] not in (None, *former, self.source.info.identity):
            self._accept_change(state)
        elif streamed:
            self.source.learned |= {int(k): n for k, n in state.get("learned", {}).items()}
        self.close()
        self.position, self.seed = int(state["position"]), int(state["seed"])

    def _accept_change(self, state: dict[str, Any]) -> None:
        """Notes what it means that the data are others than before; or raises DataError."""
        info = self.source.info
        if not self.may_change:
            raise DataError(
                f"the dataset is not the one of the checkpoint (it is {info.identity}, the "
                f"checkpoint has {state['identity']}); resume with the same shards, set "
                "data.may_change true to go on with images that were added or taken away, or start "
                "a new run from the checkpoint's weights"
            )
        counts = [f"{n:,}" if n else "unknown" for n in (state.get("count"), info.count)]
        self.notes.append(
            f"the data have changed (images before: {counts[0]}, now: {counts[1]}): from image "
            f"{state['position']:,} of the run on they come in the order of the new set, whose "
            "epochs count from the start; scores against the data compare with another set than "
            "before"
        )

    def close(self) -> None:
        """Stop the workers. A closed stream starts them again when it is next asked."""
        self._micros = None


def _outlive_signals(worker: int) -> None:
    """Schedulers signal the whole family; the parent still needs its worker to end its step."""
    for name in ("SIGUSR1", "SIGTERM", "SIGINT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


class _Order(Sampler):
    """Sample indices of this rank's micro-batches from a position on, for ever."""

    def __init__(self, plan: OrderPlan, share: RankShare, position: int):
        self.plan, self.share, self.position = plan, share, position

    def __iter__(self) -> Iterator[np.ndarray]:
        position = self.position
        while True:
            for start in self.share.starts(position):
                yield self.plan.indices(start, start + self.share.micro_batch_size)
            position += self.share.batch_size


class _Micros(Dataset):
    """Reads one micro-batch per item, in a worker process or in the caller."""

    def __init__(self, source):
        self.source = source

    def __getitem__(self, indices: np.ndarray) -> Answer:
        return answer(lambda: self.source.read(indices), self.source.policy)
