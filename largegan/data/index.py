"""The sidecar index of packed shards: what is in them, and where.

``index.json`` describes the dataset and each shard; ``SHARD.idx.npy`` beside each shard holds one
row per sample: offset and size in bytes of the image's data in the tar, and the label (-1: none).
Where samples are pairs (``channels_b`` > 0), offset and size of the second image follow.
The shards stay plain WebDataset tars that anything can read without the index.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from largegan.data.decode import LARGEST_SIDE
from largegan.files.output import write_text, writing

FORMAT, VERSION = "largegan-index", 1
INDEX_NAME = "index.json"
CONDITIONS = "conditions.npy"  # the vectors that labels stand for, beside the index
REMEDY = "write the index again with largegan verify --write-index"
LEAST_SAMPLE = 1024  # bytes of a member: its header, and a block of data
OFFSET, SIZE, LABEL, OFFSET_B, SIZE_B = 0, 1, 2, 3, 4  # columns of the entries


@dataclasses.dataclass(frozen=True)
class DataInfo:
    """What a source holds. ``count`` is None when it cannot be known without reading it all."""

    count: int | None
    channels: int
    height: int
    width: int
    num_classes: int  # 0: no labels
    class_names: tuple[str, ...]
    label_counts: tuple[int, ...]  # samples per class
    identity: str  # changes when the samples, their order in the shards or the labels change
    channels_b: int = 0  # of the second image, where there are two; else 0
    latent_scale: float = 0.0  # latents: what they are multiplied by when read; 0: images
    depth: int = 8  # bits of each channel of an image
    condition_dim: int = 0  # labels are numbers of vectors of so many numbers; 0: classes


@dataclasses.dataclass(frozen=True)
class Shard:
    """One tar file, as the index has it."""

    name: str  # file name, relative to the index
    bytes: int
    sha256: str | None
    count: int


@dataclasses.dataclass(frozen=True)
class Index:
    """The contents of ``index.json``; ``entries[i]`` belongs to ``shards[i]``, int64 [n, 3 or 5].

    Five columns where samples are pairs.
    """

    shards: tuple[Shard, ...]
    entries: tuple[np.ndarray, ...]
    channels: int
    height: int
    width: int
    num_classes: int
    class_names: tuple[str, ...] = ()
    packed_random: bool = False
    made: dict = dataclasses.field(default_factory=dict)  # how it was packed, for people
    label_counts: tuple[int, ...] = ()  # as the file states them, for when entries are not at hand
    channels_b: int = 0  # of the second image of each sample; 0: samples have one image
    latent_scale: float = 0.0  # 0: images; else samples are latents, see latents.py
    depth: int = 8  # bits of each channel of an image, 8 or 16
    conditions: np.ndarray | None = None  # float32 [num_classes, n]: what labels stand for

    def labels(self) -> np.ndarray:
        """All labels in index order, int64 [N]."""
        return np.concatenate([e[:, LABEL] for e in self.entries]) if self.entries else np.empty(0)

    def info(self) -> DataInfo:
        """What the shards hold, with samples per class."""
        counts = self.label_counts
        if self.num_classes and self.entries:
            labels = self.labels()  # -1 only in what verify.py reports on
            counts = tuple(np.bincount(labels[labels >= 0], minlength=self.num_classes).tolist())
        return DataInfo(
            count=sum(s.count for s in self.shards),
            channels=self.channels,
            height=self.height,
            width=self.width,
            num_classes=self.num_classes,
            class_names=self.class_names,
            label_counts=counts,
            identity=self.identity(),
            channels_b=self.channels_b,
            latent_scale=self.latent_scale,
            depth=self.depth,
            condition_dim=0 if self.conditions is None else self.conditions.shape[1],
        )

    def identity(self) -> str:
        """A hash of where every image lies, its size in bytes and its label.

        It does not need the shards' checksums, so that shards that were scanned and the same shards
        with an index agree, and a run may go on after an index was written.
        """
        digest = hashlib.sha256(f"{self.channels},{self.height},{self.width}".encode())
        if self.latent_scale:
            digest.update(f";latents times {self.latent_scale!r}".encode())
        if self.depth != 8:
            digest.update(f";{self.depth} bits".encode())
        if self.conditions is not None:
            digest.update(np.ascontiguousarray(self.conditions, "<f4").tobytes())
        for shard, entries in zip(self.shards, self.entries, strict=False):
            digest.update(f";{shard.bytes},{shard.count},".encode())
            digest.update(np.ascontiguousarray(entries, dtype="<i8").tobytes())
        return digest.hexdigest()[:32]


def without_labels(index: Index) -> Index:
    """The same images, unconditionally."""
    entries = tuple(e.copy() for e in index.entries)
    for rows in entries:
        rows[:, LABEL] = -1
    return dataclasses.replace(
        index, entries=entries, num_classes=0, class_names=(), label_counts=(), conditions=None
    )


def entries_name(shard: str) -> str:
    return shard.removesuffix(".tar") + ".idx.npy"


def write_index(folder: Path, index: Index) -> None:
    """Write ``index.json`` and the entries of every shard into ``folder``."""
    for shard, entries in zip(index.shards, index.entries, strict=True):
        with writing(folder / entries_name(shard.name), ending=".npy") as partial:
            np.save(partial, entries.astype("<i8"))
    info = index.info()
    if index.conditions is not None:
        with writing(folder / CONDITIONS, ending=".npy") as partial:
            np.save(partial, index.conditions.astype("<f4"))
    document = {
        "format": FORMAT,
        "version": VERSION,
        "count": info.count,
        "channels": index.channels,
        "height": index.height,
        "width": index.width,
        "num_classes": index.num_classes,
        "class_names": list(index.class_names),
        "label_counts": list(info.label_counts),
        "packed_random": index.packed_random,
        "made": index.made,
        **({"channels_b": index.channels_b} if index.channels_b else {}),
        **({"latent_scale": index.latent_scale} if index.latent_scale else {}),
        **({"depth": index.depth} if index.depth != 8 else {}),
        **({"condition_dim": info.condition_dim} if info.condition_dim else {}),
        "shards": [dataclasses.asdict(shard) for shard in index.shards],
    }
    # Last, so that a folder with an index.json has everything else too.
    write_text(folder / INDEX_NAME, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


Channels = Annotated[int, Meta(ge=1, le=1024)]  # of latents; images have at most 4
Side = Annotated[int, Meta(ge=1, le=LARGEST_SIDE)]


def sorted_by_class(index: Index) -> bool:
    """Whether the shards are so one-sided that batches would miss most classes.

    The test is the mean label entropy of a shard against that of the dataset: class-sorted shards
    break batch statistics, conditional batch norm and the discriminator alike.
    """
    if index.num_classes < 2 or len(index.shards) < 2 or index.packed_random:
        return False
    whole = _entropy(index.labels(), index.num_classes)
    parts = [_entropy(e[:, LABEL], index.num_classes) for e in index.entries if len(e)]
    return float(np.mean(parts)) < 0.5 * whole


def _entropy(labels: np.ndarray, num_classes: int) -> float:
    share = np.bincount(labels, minlength=num_classes) / len(labels)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())
