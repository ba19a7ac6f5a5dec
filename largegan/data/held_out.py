"""Examples that training leaves aside, to see whether a discriminator knows more than it was shown.

They are evenly spread over the set, so the same number holds out the same examples every time.
"""

import dataclasses

import numpy as np
import torch

from largegan.data.domains import Domains
from largegan.data.stream import ReadByNumber, Source
from largegan.errors import ConfigError


class Part:
    """Some examples of a source, numbered anew; it is read and ordered like a source."""

    def __init__(self, source: Source, numbers: np.ndarray, *, name: str):
        """``numbers``: which examples, rising; ``name`` tells the part from others of the set."""
        self.source, self.numbers, self.policy = source, numbers, source.policy
        ends = np.cumsum(source.counts)
        self.counts = np.diff(np.searchsorted(numbers, np.concatenate([[0], ends])))
        self.info = dataclasses.replace(
            source.info, count=len(numbers), identity=f"{source.info.identity}:{name}"
        )

    def read(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        """As the source reads; "index" is the example's number in the whole set."""
        return self.source.read(self.numbers[np.asarray(indices, dtype=np.int64)])


def hold_out(source: "Source | Domains", count: int) -> "tuple[Source | Domains, Source | Domains]":
    """(what is trained on, what is held out). Raises ConfigError when that leaves nothing.

    Of two domains, so many of each.
    """
    if isinstance(source, Domains):
        pairs = [hold_out(part, count) for part in (source.a, source.b)]
        return Domains(pairs[0][0], pairs[1][0]), Domains(pairs[0][1], pairs[1][1])
    total = source.info.count
    if total is None or not isinstance(source, ReadByNumber):
        raise ConfigError(
            f"data.held_out is {count}, but streamed shards cannot be picked from; set "
            "data.cache_dir, or leave it out"
        )
    if count >= total:
        raise ConfigError(
            f"data.held_out is {count} of {total} examples, which leaves none to train on; hold "
            "out fewer"
        )
    held = (np.arange(count) * total + total // 2) // count
    kept = np.delete(np.arange(total), held)
    return (
        Part(source, kept, name=f"without-{count}"),
        Part(source, held, name=f"held-out-{count}"),
    )
