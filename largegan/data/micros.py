"""Micro-batches: which of them a rank computes, and how they come back from a worker."""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch

from largegan.errors import ConfigError, UserError


@dataclasses.dataclass(frozen=True)
class RankShare:
    """The part of every global batch that one of ``world`` ranks computes.

    Raises ConfigError where the batch cannot be shared so.
    """

    batch_size: int
    micro_batch_size: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        batch, micro, world = self.batch_size, self.micro_batch_size, self.world
        if batch < 1 or micro < 1 or batch % micro:
            raise ConfigError(
                f"batch_size {batch} is not a multiple of micro_batch_size {micro}; choose a "
                "multiple"
            )
        if batch // micro < world:
            raise ConfigError(
                f"batch_size {batch} makes {batch // micro} micro-batches of {micro}, fewer than "
                f"the {world} processes; use a micro_batch_size of at most {max(1, batch // world)}"
            )
        if not 0 <= self.rank < world:
            raise ConfigError(f"rank {self.rank} of {world} is not possible")

    def starts(self, position: int) -> range:
        """Positions at which this rank's micro-batches begin, in the batch that begins there."""
        size = self.micro_batch_size
        return range(position + self.rank * size, position + self.batch_size, self.world * size)

    def drawn(self, position: int) -> int:
        """Samples that this rank has drawn when all ranks together have drawn ``position``."""
        return position // self.batch_size * len(self.starts(0)) * self.micro_batch_size


@dataclasses.dataclass
class Answer:
    """One micro-batch on its way from a worker, or the error that it met.

    An exception that is raised in a worker arrives wrapped in its traceback as text, which nobody
    wants to read; one that is handed over arrives as it is. Small tensors travel as arrays: each
    tensor would cost a file descriptor and a memory map.
    """

    micro: dict[str, torch.Tensor | np.ndarray]
    bad: list[int]  # bad samples found since the last answer of this worker
    bad_shards: int  # bad shards, and samples lost with them, found so far
    lost: int
    fault: UserError | None = None
    counts: dict[int, int] = dataclasses.field(default_factory=dict)  # of shards read to the end

    def pin_memory(self) -> "Answer":
        """The loader calls this, in a thread of its own, when it is asked to pin."""
        for name in self.micro:
            if name.startswith("image"):
                self.micro[name] = self.micro[name].pin_memory()
        return self

    def tensors(self) -> dict[str, torch.Tensor]:
        return {
            name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
            for name, value in self.micro.items()
        }


def answer(read: Callable[[], dict[str, torch.Tensor]], policy) -> Answer:
    """Run ``read`` and pack what it returns or raises."""
    try:
        micro = read()
    except UserError as error:
        return Answer({}, [], policy.bad_shards, policy.lost, error)
    packed = {k: v if k.startswith("image") else v.numpy() for k, v in micro.items()}
    return Answer(packed, policy.drain(), policy.bad_shards, policy.lost)
