"""The sidecar index of packed shards: what is in them, and where.

``index.json`` describes the dataset and each shard; ``SHARD.idx.npy`` beside each shard holds one
row per sample: offset and size in bytes of the image's data in the tar, and the label (-1: none).
Where samples are pairs (``channels_b`` > 0), offset and size of the second image follow.
The shards stay plain WebDataset tars that anything can read without the index.
"""

import dataclasses
import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
import numpy as np
from msgspec import Meta

from largegan.data.decode import LARGEST_SIDE, possible_size
from largegan.data.tar import member_at
from largegan.errors import DataError, reason, shown
from largegan.files.arrays import read_array
from largegan.files.documents import (
    LARGEST,
    Count,
    FileName,
    Positive,
    Sha256,
    parse_document,
    read_bounded,
)
from largegan.files.output import write_text, writing

FORMAT, VERSION = "largegan-index", 1
INDEX_NAME = "index.json"
CONDITIONS = "conditions.npy"  # the vectors that labels stand for, beside the index
REMEDY = "write the index again with tools/verify.py --write-index"
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


class ShardDocument(msgspec.Struct):
    """A shard in ``index.json``."""

    name: FileName
    bytes: Count
    count: Count
    sha256: Sha256 | None = None


class IndexDocument(msgspec.Struct):
    """``index.json``; see `Index`."""

    format: Literal["largegan-index"]
    version: Positive
    channels: Channels
    height: Side
    width: Side
    num_classes: Annotated[int, Meta(ge=0, le=1 << 20)]
    shards: list[ShardDocument]
    class_names: list[str] = []
    packed_random: bool = False
    made: dict[str, Any] = {}
    label_counts: list[Count] = []
    channels_b: Annotated[int, Meta(ge=0, le=4)] = 0
    latent_scale: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    depth: Literal[8, 16] = 8
    condition_dim: Annotated[int, Meta(ge=0, le=4096)] = 0


def parse_index(text: str | bytes, *, where: str) -> Index:
    """The document of ``index.json``, still without entries; raises DataError."""
    about = {"where": where, "what": "is not a largegan index"}
    remedy = "delete it and write a new one with tools/verify.py --write-index"
    document = parse_document(text, IndexDocument, **about, remedy=remedy)
    if document.version > VERSION:
        raise DataError(
            f"{where} has index version {document.version}, and this largegan reads up to "
            f"{VERSION}; update largegan"
        )
    fault = _contradiction(document)
    if fault:
        raise DataError(f"{where} is not a largegan index ({fault}); {remedy}")
    return Index(
        shards=tuple(Shard(s.name, s.bytes, s.sha256, s.count) for s in document.shards),
        entries=(),
        channels=document.channels,
        height=document.height,
        width=document.width,
        num_classes=document.num_classes,
        class_names=tuple(document.class_names),
        packed_random=document.packed_random,
        made=document.made,
        label_counts=tuple(document.label_counts),
        channels_b=document.channels_b,
        latent_scale=document.latent_scale,
        depth=document.depth,
        conditions=_promised(document),
    )


def _promised(document: IndexDocument) -> np.ndarray | None:
    """The shape of the vectors that labels stand for, until `with_conditions` brings them."""
    if not document.condition_dim:
        return None
    return np.broadcast_to(np.float32(0), (document.num_classes, document.condition_dim))


def with_conditions(index: Index, file: BinaryIO, size: int, *, name: str) -> Index:
    """Attach the vectors that labels stand for; raises DataError where they do not fit."""
    try:
        found = read_array(file, size, kinds="f")
    except (ValueError, EOFError) as error:
        raise DataError(f"{name} cannot be read ({shown(error)}); pack the set again") from error
    if found.shape != index.conditions.shape or not np.isfinite(found).all():
        raise DataError(
            f"{name} has shape {found.shape} instead of {index.conditions.shape}, or holds numbers "
            "that are not finite; pack the set again"
        )
    return dataclasses.replace(index, conditions=found.astype(np.float32))


def _contradiction(document: IndexDocument) -> str | None:
    """What cannot be true of any shards, or None."""
    names = [shard.name for shard in document.shards]
    if document.channels > 4 and not document.latent_scale:
        return f"images have {document.channels} channels"
    if not possible_size(document.height, document.width):
        return f"images of {document.height}x{document.width} are too large"
    if len(set(names)) < len(names):
        return "it names a shard twice"
    for shard in document.shards:
        place = PurePosixPath(shard.name)
        if place.is_absolute() or ".." in place.parts:
            return f"shard {shown(shard.name)} would lie outside of its folder"
        if shard.count > shard.bytes // LEAST_SAMPLE:
            return f"{shard.count} samples do not fit into {shard.bytes} bytes of a shard"
    for what in ("class_names", "label_counts"):
        stated = getattr(document, what)
        if stated and len(stated) != document.num_classes:
            return f"it has {document.num_classes} classes and {len(stated)} {what}"
    return None


def read_index(path: Path) -> Index:
    """``index.json`` with the entries of its shards; raises DataError."""
    try:
        index = parse_index(read_bounded(path, LARGEST, REMEDY), where=shown(path))
    except FileNotFoundError as error:
        raise DataError(
            f"cannot read the index {path} ({error.strerror}); check the path"
        ) from error
    if index.conditions is not None:
        place = path.parent / CONDITIONS
        try:
            with place.open("rb") as file:
                index = with_conditions(index, file, place.stat().st_size, name=shown(place))
        except OSError as error:
            raise DataError(f"{shown(place)} cannot be read ({reason(error)})") from error
    entries = [load_entries(path.parent / entries_name(s.name), shard=s) for s in index.shards]
    return with_entries(index, entries, folder=path.parent)


def with_entries(index: Index, entries: list[np.ndarray], *, folder: Path | None = None) -> Index:
    """Attach entries after checking their labels; raises DataError."""
    index = dataclasses.replace(index, entries=tuple(entries))
    if not index.shards or not sum(s.count for s in index.shards):
        raise DataError("the index lists no samples; pack the dataset again with tools/pack.py")
    for shard, rows in zip(index.shards, entries, strict=True):
        if (rows.shape[1] == 5) != (index.channels_b > 0):
            raise DataError(
                f"{entries_name(shard.name)} and the index disagree whether samples are pairs; "
                f"{REMEDY}"
            )
        path = folder / shard.name if folder else None
        check_labels(rows, index.num_classes, shard=shard.name, path=path)
    return index


def load_entries(path: Path, *, shard: Shard) -> np.ndarray:
    """Entries of one shard, int64 [n, 3 or 5]; raises DataError when they do not fit the shard."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            return parse_entries(file, size, name=path.name, shard=shard)
    except FileNotFoundError:
        raise DataError(f"{path.name} is missing beside shard {shard.name}; {REMEDY}") from None
    except OSError as error:
        raise DataError(f"{path.name} cannot be read ({reason(error)}); {REMEDY}") from error


def parse_entries(file: BinaryIO, size: int, *, name: str, shard: Shard) -> np.ndarray:
    """Entries of one shard from its ``.idx.npy`` of `size` bytes; raises DataError."""
    try:
        entries = read_array(file, size, kinds="iu")
    except (ValueError, EOFError) as error:
        raise DataError(
            f"{name} of shard {shard.name} cannot be read ({shown(error)}); {REMEDY}"
        ) from error
    if entries.ndim != 2 or entries.shape[1] not in (3, 5) or len(entries) != shard.count:
        raise DataError(
            f"{name} has shape {entries.shape}, but shard {shard.name} has {shard.count} samples "
            f"in the index; {REMEDY}"
        )
    entries = entries.astype(np.int64)
    places = (entries[:, :2], entries[:, OFFSET_B:])
    # Each number first: a sum of two of them could be too large for its type.
    if any(p.size and not 0 <= p.min() <= p.max() <= shard.bytes for p in places) or any(
        p.size and p.sum(1).max() > shard.bytes for p in places
    ):
        raise DataError(f"{name} points outside shard {shard.name}; {REMEDY}")
    return entries


def check_labels(
    rows: np.ndarray, num_classes: int, *, shard: str, path: Path | None = None
) -> None:
    """Refuse labels outside the classes, and samples without one in a labeled set.

    ``rows`` are the entries of one shard; with its local ``path`` the message names the member.
    """
    labels = rows[:, LABEL]
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes)) if num_classes else []
    if not len(wrong):
        return
    first = int(wrong[0])
    member = member_at(path, int(rows[first, OFFSET])) if path else f"number {first}"
    label = int(labels[first])
    what = "has no label" if label == -1 else f"has label {label}"
    raise DataError(
        f"member {member} in shard {shard} {what}, but the dataset has classes 0 to "
        f"{num_classes - 1}; correct the labels and pack the dataset again"
    )


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
