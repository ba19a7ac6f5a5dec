"""Open a dataset by its path: find the shards, their index, and the way to read them."""

import dataclasses
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from largegan.data.decoded import decoded_once
from largegan.data.index import INDEX_NAME, Index, sorted_by_class, without_labels
from largegan.data.index_files import read_index
from largegan.data.indexed import IndexedSource, check_files
from largegan.data.policy import SkipPolicy
from largegan.data.published import cached_shards, published_index, streamed_source
from largegan.data.reading import PLAIN, Reading
from largegan.data.remote import check_scheme, local_path, scheme_of
from largegan.data.resolve import expand
from largegan.data.scan import build_index
from largegan.data.stream import Source
from largegan.data.synthetic import SYNTHETIC, GaussianSource
from largegan.errors import ConfigError, DataError

log = logging.getLogger(__name__)


@dataclasses.dataclass
class Found:
    """Local shards with their index, in the same order."""

    index: Index
    paths: list[Path]


def open_data(path: str | Path | Sequence[str | Path], reading: Reading = PLAIN) -> Source:
    """Open shards for training; raises DataError for the data and ConfigError for the settings.

    ``path``: a folder of shards, a .tar, an index.json, a pattern with braces or wildcards, URLs,
    ``bundled:NAME`` or ``synthetic:NAME``, or a list of them.
    """
    policy = SkipPolicy(reading.on_error, reading.max_skip_fraction)
    given = [path] if isinstance(path, str | Path) else list(path)
    if len(given) == 1 and str(given[0]).startswith("synthetic:"):
        return _synthetic(str(given[0]))
    shards = [shard for item in given for shard in expand(str(item))]
    for shard in shards:
        check_scheme(shard, allow_pipe=reading.allow_pipe)
    if reading.mode != "stream" and all(scheme_of(s) in ("", "file") for s in shards):
        found = find_local([local_path(s) for s in shards], policy=policy)
        check_files(found.index, found.paths, policy=policy)
        return _indexed(found.index, _LocalShards(found.paths), reading, policy)
    published = published_index(shards)
    cached = reading.mode == "auto" and published and reading.cache_dir
    if reading.mode == "indexed" or cached:
        index, locate = cached_shards(published, shards, reading.cache_dir)
        return _indexed(index, locate, reading, policy)
    return streamed_source(shards, published, reading, policy)


def _synthetic(path: str) -> GaussianSource:
    name = path.removeprefix("synthetic:")
    if name not in SYNTHETIC:
        raise ConfigError(f"there is no {path}; choose one of {', '.join(SYNTHETIC)}")
    return SYNTHETIC[name]()


def find_local(paths: list[Path], *, policy: SkipPolicy) -> Found:
    """Index of local shards: read where there is one beside them, else built from the headers."""
    parts = []
    for folder, names in _by_folder(paths).items():
        parts.append(_find_in_folder(folder, names, policy))
    if len(parts) == 1:
        return parts[0]
    return Found(_join([part.index for part in parts]), [p for part in parts for p in part.paths])


def _by_folder(paths: list[Path]) -> dict[Path, list[str]]:
    folders: dict[Path, list[str]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path.name)
    return folders


def _find_in_folder(folder: Path, names: list[str], policy: SkipPolicy) -> Found:
    if names[0].endswith(".json"):
        index = read_index(folder / names[0])
        return Found(index, [folder / shard.name for shard in index.shards])
    if (folder / INDEX_NAME).is_file():
        index = read_index(folder / INDEX_NAME)
        listed = {shard.name for shard in index.shards}
        if listed.issuperset(names):
            return Found(_select(index, set(names)), [folder / n for n in sorted(names)])
        log.warning("%s does not list all shards asked for; scanning them", folder / INDEX_NAME)
    paths = [folder / name for name in names]
    scan = build_index(paths, on_error=policy.on_error)
    policy.bad_shards += scan.bad_shards
    policy.lost += scan.lost
    return Found(scan.index, paths)


def _select(index: Index, names: set[str]) -> Index:
    """The part of an index that concerns some shards, in the order of their names."""
    pairs = [p for p in zip(index.shards, index.entries, strict=True) if p[0].name in names]
    pairs.sort(key=lambda pair: pair[0].name)
    return dataclasses.replace(
        index, shards=tuple(p[0] for p in pairs), entries=tuple(p[1] for p in pairs)
    )


def _join(indexes: list[Index]) -> Index:
    """One index over several folders, which must hold the same kind of images and classes."""
    first = indexes[0]
    for other in indexes[1:]:
        for field in (
            "channels",
            "height",
            "width",
            "num_classes",
            "class_names",
            "channels_b",
            "latent_scale",
            "depth",
        ):
            ours, theirs = getattr(first, field), getattr(other, field)
            if ours != theirs:
                raise DataError(
                    f"the folders given do not match: {field} is {ours} in one and {theirs} in "
                    "another; pack them alike"
                )
    if any(i.conditions is not None for i in indexes):
        raise DataError(
            "labels that are vectors are read from one folder; pack the images together"
        )
    return dataclasses.replace(
        first,
        shards=tuple(s for i in indexes for s in i.shards),
        entries=tuple(e for i in indexes for e in i.entries),
        packed_random=all(i.packed_random for i in indexes),
    )


def _indexed(index: Index, locate, reading: Reading, policy: SkipPolicy) -> IndexedSource:
    if reading.rank == 0 and reading.labels and sorted_by_class(index):
        log.warning(
            "the shards are sorted by class, so batches will miss most classes; pack them again in "
            "random order with largegan pack"
        )
    source = IndexedSource(
        index if reading.labels else without_labels(index), locate, policy=policy
    )
    source.decoded = decoded_once(reading, source.info, _content_of(index, locate))
    return source


def _content_of(index: Index, locate) -> str:
    """What the shards hold, by their checksums, or by place and time where there are none.

    Sets whose images have the same sizes in bytes have one identity, and not the same pixels.
    """
    parts = []
    for number, shard in enumerate(index.shards):
        parts.append(shard.sha256 or shard.name)
        if shard.sha256 is None and isinstance(locate, _LocalShards):
            path = locate(number).resolve()
            parts.append(f"{path} {path.stat().st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


@dataclasses.dataclass
class _LocalShards:
    paths: list[Path]

    def __call__(self, shard: int) -> Path:
        return self.paths[shard]
