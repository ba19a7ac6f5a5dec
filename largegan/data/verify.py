"""Check local shards from end to end and name everything that is bad."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from largegan.data.account import Account
from largegan.data.decode import decode_into
from largegan.data.index import (
    INDEX_NAME,
    LABEL,
    OFFSET,
    SIZE,
    Index,
    Shard,
    entries_name,
    write_index,
)
from largegan.data.index_files import load_entries, parse_index
from largegan.data.latents import decode_latent_into
from largegan.data.remote import local_path, scheme_of
from largegan.data.resolve import expand
from largegan.data.scan import (
    first_depth,
    first_shape,
    scan_shard,
    second_channels,
)
from largegan.data.tar import member_at
from largegan.errors import ConfigError, DataError, reason, shown
from largegan.files.digests import sha256_of
from largegan.files.photos import BadImage


@dataclasses.dataclass
class Report:
    """``faults`` has one sentence for each; ``index`` describes the shards as they are found.

    ``account`` says which members of the shards are not used.
    """

    index: Index
    indexed: bool  # whether there was an index to compare with
    faults: list[str]
    account: Account


def verify(
    path: str,
    *,
    use_index: bool = True,
    progress: Callable[[Iterable, int], Iterable] = lambda items, total: items,
) -> Report:
    """Checksums, headers, labels and every image of the shards of one folder.

    Faults of shards are collected; only what leaves nothing to check raises DataError.
    """
    stated, paths = _stated(path, use_index=use_index)
    account = Account()
    faults: list[str] = [] if paths else [f"{path} lists no shards; pack the dataset again"]
    shards, entries = [], []
    for number, file in enumerate(paths):
        shard = stated.shards[number] if stated else None
        found, rows = _check_shard(file, shard, faults, account)
        shards.append(found)
        entries.append(rows)
    index = _describe(stated, paths, shards, entries, faults)
    if not use_index:
        index = _with_knowledge(index, _old_index(path), account)
    if not faults and not any(map(len, entries)):
        faults.append(f"no image was found in {path}; pack the dataset with largegan pack")
    images = ((file, row) for file, rows in zip(paths, entries, strict=True) for row in rows)
    for file, row in progress(images, sum(map(len, entries))):
        _check_sample(file, row, index, faults)
    return Report(index, stated is not None, faults, account)


def write_index_of(report: Report, path: str) -> Path:
    """Write the index of sound shards beside them, and return its path; raises DataError."""
    if report.faults:
        raise DataError(f"{path} has faults, so no index was written; repair or pack it again")
    folder = _folder_of(path)
    write_index(folder, report.index)
    return folder / INDEX_NAME


def _stated(path: str, *, use_index: bool) -> tuple[Index | None, list[Path]]:
    """The index, without entries, and the local shards that ``path`` means."""
    found = expand(path)
    if any(scheme_of(item) not in ("", "file") for item in found):
        raise ConfigError(f"{path} is not local; fetch the shards and verify the local copy")
    files = [local_path(item) for item in found]
    if len({file.parent for file in files}) > 1:
        raise ConfigError(f"{path} spans several folders; verify one at a time")
    folder = files[0].parent
    given = files[0] if files[0].suffix == ".json" else folder / INDEX_NAME
    if not given.is_file():
        return None, files
    if not use_index and files[0].suffix == ".json":
        return None, sorted(folder.glob("*.tar"))
    index = parse_index(given.read_bytes(), where=str(given)) if use_index else None
    if index is None or files[0].suffix != ".json":
        listed = {s.name: s for s in index.shards} if index else {}
        if not set(listed).issuperset(file.name for file in files):
            return None, files
        return dataclasses.replace(index, shards=tuple(listed[f.name] for f in files)), files
    return index, [folder / shard.name for shard in index.shards]


def _folder_of(path: str) -> Path:
    """Where the shards lie, and their index."""
    return local_path(expand(path)[0]).parent


def _old_index(path: str) -> Index | None:
    """The index that is about to be written anew, as far as it can be read."""
    folder = _folder_of(path)
    try:
        return parse_index((folder / INDEX_NAME).read_bytes(), where=str(folder / INDEX_NAME))
    except (OSError, DataError):
        return None


def _with_knowledge(index: Index, old: Index | None, account: Account) -> Index:
    """What no shard says, from the index before: names of classes, empty ones, how it was made."""
    if old is None or {s.name for s in old.shards} != {s.name for s in index.shards}:
        return index
    if old.num_classes < index.num_classes:
        account.leave("names of classes: the labels go beyond them", *old.class_names)
        return dataclasses.replace(index, packed_random=old.packed_random, made=old.made)
    return dataclasses.replace(
        index,
        num_classes=old.num_classes if index.num_classes else 0,
        class_names=old.class_names if index.num_classes else (),
        conditions=old.conditions if index.num_classes else None,
        packed_random=old.packed_random,
        made=old.made,
    )


def _check_shard(
    file: Path, stated: Shard | None, faults: list[str], account: Account
) -> tuple[Shard, np.ndarray]:
    """Existence, size, checksum, headers and entries of one shard."""
    if not file.is_file():
        faults.append(f"shard {file.name} of the index is missing; fetch or pack it again")
        return Shard(file.name, 0, None, 0), np.empty((0, 3), np.int64)
    report = lambda error: faults.append(str(error))  # noqa: E731
    try:
        length, digest = file.stat().st_size, sha256_of(file)
        rows, broken = scan_shard(file, report=report, account=account)
    except OSError as error:
        report(f"shard {file.name} cannot be read ({reason(error)}); check the disk")
        return Shard(file.name, 0, None, 0), np.empty((0, 3), np.int64)
    if stated is not None:
        if length != stated.bytes:
            faults.append(
                f"shard {file.name} has {length} bytes, but its index says {stated.bytes}; fetch "
                "or pack it again"
            )
        elif stated.sha256 not in (None, digest):
            faults.append(
                f"shard {file.name} does not have the sha256 of its index; fetch or pack it again"
            )
        rows = _compare_entries(file, stated, rows, faults, broken=broken)
    return Shard(file.name, length, digest, len(rows)), rows


def _compare_entries(
    file: Path, stated: Shard, rows: np.ndarray, faults: list[str], *, broken: bool
) -> np.ndarray:
    """The index's entries where the headers are damaged, so that all images get decoded."""
    try:
        entries = load_entries(file.parent / entries_name(file.name), shard=stated)
    except DataError as error:
        faults.append(str(error))
        return rows
    if broken:
        last = entries[:, -2:] if entries.shape[1] == 5 else entries[:, [OFFSET, SIZE]]
        return entries[last.sum(1) <= file.stat().st_size]
    if not np.array_equal(entries, rows):
        faults.append(
            f"the entries of shard {file.name} do not match its members; write the index again "
            "with largegan verify --write-index"
        )
    return rows


def _describe(
    stated: Index | None,
    paths: list[Path],
    shards: list[Shard],
    entries: list[np.ndarray],
    faults: list[str],
) -> Index:
    """The shards as found, in the shape and with the classes that the index states, if any."""
    if stated is not None:
        return dataclasses.replace(stated, shards=tuple(shards), entries=tuple(entries))
    try:
        height, width, channels = first_shape(paths, entries)
    except DataError as error:
        faults.append(str(error))
        height, width, channels = 0, 0, 0
        entries = [rows[:0] for rows in entries]
    classes = 1 + max((int(e[:, LABEL].max()) for e in entries if len(e)), default=-1)
    second = second_channels(paths, entries) if channels else 0
    return Index(
        tuple(shards),
        tuple(entries),
        channels,
        height,
        width,
        classes,
        channels_b=second,
        depth=first_depth(paths, entries) if channels else 8,
    )


def _check_sample(file: Path, row: np.ndarray, index: Index, faults: list[str]) -> None:
    offset, size, label, *second = row.tolist()
    problem = None
    if index.num_classes and not 0 <= label < index.num_classes:
        what = "has no label" if label < 0 else f"has label {label}"
        problem = f"{what}, but the dataset has classes 0 to {index.num_classes - 1}"
    images = [(offset, size, index.channels)]
    images += [(*second, index.channels_b)] if second else []
    for place, length, channels in images:
        try:
            with file.open("rb") as shard:
                shard.seek(place)
                data = shard.read(length)
            if index.latent_scale:
                shape = (channels, index.height, index.width)
                decode_latent_into(data, np.empty(shape, np.float16))
            else:
                kind = np.uint8 if index.depth == 8 else np.uint16
                decode_into(data, np.empty((index.height, index.width, channels), kind))
        except (BadImage, OSError) as error:
            problem, offset = str(error), place
    if problem is not None:
        member = shown(member_at(file, offset))
        faults.append(f"member {member} in shard {file.name} {problem}; replace it and pack again")
