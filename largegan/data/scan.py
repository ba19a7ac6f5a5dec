"""Build an index for shards that have none, by walking their headers.

Either all samples have a label or none has; `samples` has the other rules of the format.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from largegan.data.account import Account
from largegan.data.decode import image_shape, is_deep_png
from largegan.data.index import LABEL, OFFSET, OFFSET_B, SIZE, Index, Shard
from largegan.data.index_files import check_labels
from largegan.data.samples import damaged, group, is_wanted_label, stop
from largegan.data.tar import TarDamage, walk
from largegan.errors import DataError, reason, shown
from largegan.files.photos import BadImage

log = logging.getLogger(__name__)


def scan_shard(
    path: Path,
    *,
    report: Callable[[DataError], None] = stop,
    account: Account | None = None,
) -> tuple[np.ndarray, bool]:
    """Entries of one shard, int64 [n, 3 or 5], and whether damage ended the walk early."""
    rows: list[tuple[int, ...]] = []
    account = Account() if account is None else account
    with opened(path) as file:
        length = path.stat().st_size
        try:
            members = walk(file, want=is_wanted_label, length=length, leave=account.leave)
            for sample in group(members, shard=path.name, report=report, account=account):
                label = -1 if sample.label is None else sample.label
                second = sample.image_b
                places = (second.offset, second.size) if second else ()
                rows.append((sample.image.offset, sample.image.size, label, *places))
            whole = True
        except TarDamage as error:
            report(damaged(path.name, error))
            whole = False
    width = len(rows[0]) if rows else 3
    odd = next((i for i, row in enumerate(rows) if len(row) != width), None)
    if odd is not None:
        report(
            DataError(
                f"sample number {odd} in shard {path.name} is {'a pair' if width == 3 else 'alone'}"
                ", the ones before it are not; pack pairs and single images apart"
            )
        )
        rows = [row for row in rows if len(row) == width]
    return np.array(rows, np.int64).reshape(-1, width), not whole


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A shard; what the file system raises becomes DataError."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise DataError(
            f"shard {shown(path)} cannot be read ({reason(error)}); check the file"
        ) from error


class Scan(NamedTuple):
    """What reading the headers of shards has found."""

    index: Index
    bad_shards: int
    lost: int  # samples that cannot be used; at least one for each damaged shard


def build_index(paths: list[Path], *, on_error: str = "raise") -> Scan:
    """Index of local shards; raises DataError.

    Under ``on_error="skip"`` a damaged shard keeps the samples before its damage, and samples
    without a label are left out of a labeled set.
    """
    entries: list[np.ndarray] = []
    bad_shards, lost = 0, 0
    faults: list[DataError] = []
    account = Account()
    report = stop if on_error == "raise" else faults.append
    for path in paths:
        rows, broken = scan_shard(path, report=report, account=account)
        bad_shards += broken
        lost += _lost_samples(path, rows) - 1 if broken else 0
        entries.append(rows)
    for sentence in (*faults, *account.sentences()):
        log.warning("%s", sentence)
    lost += len(faults)
    height, width, channels = first_shape(paths, entries)
    channels_b = second_channels(paths, entries)
    num_classes = 1 + max((int(e[:, LABEL].max()) for e in entries if len(e)), default=-1)
    if num_classes and on_error == "skip":
        before = sum(map(len, entries))
        entries = [e[e[:, LABEL] >= 0] for e in entries]
        lost += before - sum(map(len, entries))
    for path, rows in zip(paths, entries, strict=True):
        check_labels(rows, num_classes, shard=path.name, path=path)
    shards = tuple(
        Shard(path.name, path.stat().st_size, None, len(rows))
        for path, rows in zip(paths, entries, strict=True)
    )
    index = Index(
        shards,
        tuple(entries),
        channels,
        height,
        width,
        num_classes,
        channels_b=channels_b,
        depth=first_depth(paths, entries),
    )
    return Scan(index, bad_shards, lost)


def _lost_samples(path: Path, rows: np.ndarray) -> int:
    """About how many samples lie behind the damage, by the mean size of those before it."""
    if not len(rows):
        return 1
    end = int(rows[-1, OFFSET] + rows[-1, SIZE])
    return 1 + int((path.stat().st_size - end) / max(end / len(rows), 1))


def second_channels(paths: list[Path], entries: list[np.ndarray]) -> int:
    """Channels of the second images of pairs; 0 where samples have one image."""
    if not all(rows.shape[1] == 5 for rows in entries if len(rows)):
        return 0
    return first_shape(paths, entries, column=OFFSET_B)[2]


def first_depth(paths: list[Path], entries: list[np.ndarray]) -> int:
    """Bits per channel of the first image: 16 where it is such a PNG."""
    for path, rows in zip(paths, entries, strict=True):
        if len(rows):
            with opened(path) as file:
                file.seek(int(rows[0, OFFSET]))
                return 16 if is_deep_png(file.read(32)) else 8
    return 8


def first_shape(
    paths: list[Path], entries: list[np.ndarray], *, column: int = OFFSET
) -> tuple[int, int, int]:
    """Height, width and channels of the first image whose header can be read."""
    error: Exception | None = None
    for path, rows in zip(paths, entries, strict=True):
        for row in rows[:100]:
            try:
                with path.open("rb") as file:
                    file.seek(row[column])
                    return image_shape(file.read(row[column + 1]))
            except BadImage as bad:
                error = DataError(
                    f"the first images of shard {path.name} cannot be read: one {bad}"
                )
    where = paths[0].parent if paths else "no shard"
    raise error or DataError(
        f"no image was found in {where}; shards hold members such as 000001.jpg and 000001.cls, as "
        "largegan pack writes them"
    )
