"""Indexes in files: read through a schema, and held against what they promise; see `index.py`."""

import dataclasses
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, BinaryIO, Literal

import msgspec
import numpy as np
from msgspec import Meta

from largegan.data.decode import possible_size
from largegan.data.index import (
    CONDITIONS,
    LABEL,
    LEAST_SAMPLE,
    OFFSET,
    OFFSET_B,
    REMEDY,
    VERSION,
    Channels,
    Index,
    Shard,
    Side,
    entries_name,
)
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
    remedy = "delete it and write a new one with largegan verify --write-index"
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
        raise DataError("the index lists no samples; pack the dataset again with largegan pack")
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
