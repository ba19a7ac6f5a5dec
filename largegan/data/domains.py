"""Two domains for image translation: separate shards of each, or shards of pairs."""

import dataclasses

import numpy as np
import torch

from largegan.data.index import DataInfo
from largegan.data.micros import RankShare
from largegan.data.stream import Source, Stream
from largegan.data.transforms import Framing
from largegan.errors import ConfigError

SECOND = 1 << 40  # two domains with the same number of images must not meet in one order


def framed(source: "Source | Domains", framing: Framing) -> DataInfo:
    """What training sees of the data; raises ConfigError when two domains differ in size."""
    parts = (source.a, source.b) if isinstance(source, Domains) else (source,)
    sizes = [framing.size(part.info.height, part.info.width) for part in parts]
    if sizes[0] != sizes[-1]:
        (h, w), (height, width) = sizes
        raise ConfigError(
            f"images of domain a are {h}x{w} (height x width) and those of b {height}x{width}; "
            "set data.resize, data.crop or both"
        )
    return dataclasses.replace(source.info, height=sizes[0][0], width=sizes[0][1])


def open_stream(
    source: "Source | Domains", share: RankShare, framing: Framing, *, seed: int, **options
) -> "Stream | UnpairedStream":
    """The endless order of a source's batches; ``options`` are those of ``Stream``."""
    if isinstance(source, Domains):
        return UnpairedStream(
            open_stream(source.a, share, framing, seed=seed, **options),
            open_stream(source.b, share, framing, seed=seed ^ SECOND, **options),
        )
    jitter = framing.jitter(source.info.height, source.info.width)
    return Stream(source, share, seed=seed, jitter=jitter, **options)


class Domains:
    """Two sources that know nothing of each other: unpaired data."""

    def __init__(self, a: Source, b: Source):
        self.a, self.b = a, b
        self.info = both(a.info, b.info)
        if self.info.count is not None:  # streamed shards cannot be picked from
            self.read = self._read

    def _read(self, indices: np.ndarray) -> dict[str, torch.Tensor]:
        """Samples by number; the shorter domain starts again where it ends."""
        read = {}
        for name, source in (("a", self.a), ("b", self.b)):
            batch = source.read(np.asarray(indices) % source.info.count)
            read |= {f"{key}_{name}": value for key, value in batch.items()}
        return read


def both(a: DataInfo, b: DataInfo) -> DataInfo:
    """What a sample of each holds. The count is the larger domain's: its epoch is the epoch."""
    counts = [info.count for info in (a, b)]
    return dataclasses.replace(
        a,
        count=None if None in counts else max(counts),
        num_classes=0,
        class_names=(),
        label_counts=(),
        condition_dim=0,
        identity=f"{a.identity}+{b.identity}",
        channels_b=b.channels,
    )


class UnpairedStream:
    """Two streams side by side, each with its own order and its own epochs: the shorter wraps.

    A micro-batch holds "image_a" and "image_b", and likewise everything else the streams bring.
    """

    def __init__(self, a: Stream, b: Stream):
        self.a, self.b = a, b

    @property
    def share(self):
        return self.a.share

    @property
    def skipped(self) -> dict[str, int]:
        """Samples and shards of both that this rank found unusable so far."""
        return {kind: self.a.skipped[kind] + self.b.skipped[kind] for kind in self.a.skipped}

    @property
    def notes(self) -> list[str]:
        return [*self.a.notes, *self.b.notes]

    def next_batch(self) -> list[dict[str, torch.Tensor]]:
        """This rank's micro-batches of the next global batch, in order; raises DataError."""
        return [
            {f"{name}_a": value for name, value in a.items()}
            | {f"{name}_b": value for name, value in b.items()}
            for a, b in zip(self.a.next_batch(), self.b.next_batch(), strict=True)
        ]

    def state_dict(self) -> dict[str, dict]:
        return {"a": self.a.state_dict(), "b": self.b.state_dict()}

    def load_state_dict(self, state: dict[str, dict]) -> None:
        self.a.load_state_dict(state["a"])
        self.b.load_state_dict(state["b"])

    def close(self) -> None:
        self.a.close()
        self.b.close()
