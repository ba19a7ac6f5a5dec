"""Shards behind URLs: with the index published beside them, or read front to back."""

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from largegan.data.cache import cached, open_cached
from largegan.data.decode import BadImage, image_shape
from largegan.data.index import CONDITIONS, INDEX_NAME, REMEDY, DataInfo, Index, entries_name
from largegan.data.index_files import parse_entries, parse_index, with_conditions, with_entries
from largegan.data.policy import SkipPolicy
from largegan.data.reading import Reading
from largegan.data.remote import (
    beside,
    fetch_bytes,
    local_path,
    name_of,
    open_url,
    scheme_of,
)
from largegan.data.samples import Sample
from largegan.data.streaming import StreamedSource, check_shard_count, read_shard
from largegan.errors import ConfigError, DataError, shown
from largegan.files.addresses import HTTP
from largegan.files.arrays import LONGEST_HEADER
from largegan.files.documents import LARGEST, read_bounded
from largegan.files.web import version_of

LARGEST_ROW = 5 * 8  # bytes of a sample in the entries
MOST_ASKED = 64  # shards without an index whose versions servers are asked for, by every rank


@dataclasses.dataclass
class Published:
    """An index (its entries not fetched yet) and its URL, beside which its shards lie."""

    url: str
    index: Index

    def urls(self) -> list[str]:
        return [beside(self.url, shard.name) for shard in self.index.shards]

    def select(self, names: list[str]) -> "Published":
        """The part that concerns some shards; raises KeyError for one that is not listed."""
        listed = {shard.name: shard for shard in self.index.shards}
        shards = tuple(listed[name] for name in names)
        # The label counts are those of the whole, and do not hold for a part.
        counts = self.index.label_counts if len(shards) == len(listed) else ()
        return Published(
            self.url, dataclasses.replace(self.index, shards=shards, label_counts=counts)
        )


@dataclasses.dataclass
class CachedShards:
    """Local file of a shard, fetched when it is first read."""

    published: Published
    cache_dir: str

    def __call__(self, shard: int) -> Path:
        url, entry = self.published.urls()[shard], self.published.index.shards[shard]
        return cached(
            url,
            self.cache_dir,
            opener=lambda: open_url(url, most=entry.bytes),
            size=entry.bytes,
            sha256=entry.sha256,
        )


def published_index(shards: list[str]) -> Published | None:
    """The index beside the shards if it lists them all, else None."""
    first = shards[0]
    if scheme_of(first) == "pipe":
        return None
    given = first.partition("?")[0].endswith(".json")
    url = first if given else beside(first, INDEX_NAME)
    try:
        index = parse_index(_small_file(url), where=url)
    except DataError:
        if given:
            raise
        return None
    published = Published(url, index)
    if given:
        return published
    if any(beside(shard, INDEX_NAME) != url for shard in shards):  # of several folders, or tokens
        return None
    try:
        return published.select([name_of(shard) for shard in shards])
    except KeyError:
        return None


def _small_file(url: str) -> bytes:
    if scheme_of(url) not in ("", "file"):
        return fetch_bytes(url, most=LARGEST)
    try:
        return read_bounded(local_path(url), LARGEST, REMEDY)
    except FileNotFoundError as fault:
        raise DataError(f"there is no {shown(url)}; check the path") from fault


def cached_shards(
    published: Published | None, shards: list[str], cache_dir: str | None
) -> tuple[Index, CachedShards]:
    """The whole index of remote shards, and where to find each; only the index is fetched."""
    if published is None:
        raise DataError(
            f"there is no {INDEX_NAME} beside {shards[0]} that lists it; publish the one that "
            "largegan pack wrote, or set mode to stream"
        )
    if cache_dir is None:
        raise ConfigError(
            f"reading {shards[0]} by index needs a cache_dir to keep the shards in; set one, or "
            "set mode to stream"
        )
    entries = []
    for shard in published.index.shards:
        url = beside(published.url, entries_name(shard.name))
        most = LONGEST_HEADER + shard.count * LARGEST_ROW
        with open_cached(url, cache_dir, opener=partial(open_url, url, most=most)) as file:
            size = os.fstat(file.fileno()).st_size
            entries.append(parse_entries(file, size, name=url, shard=shard))
    index = with_entries(_with_conditions(published, cache_dir), entries)
    return index, CachedShards(Published(published.url, index), cache_dir)


def _with_conditions(published: Published, cache_dir: str) -> Index:
    """The index with the vectors that labels stand for, if they do."""
    if published.index.conditions is None:
        return published.index
    url = beside(published.url, CONDITIONS)
    with open_cached(url, cache_dir, opener=partial(open_url, url)) as file:
        size = os.fstat(file.fileno()).st_size
        return with_conditions(published.index, file, size, name=url)


def streamed_source(
    shards: list[str],
    published: Published | None,
    reading: Reading,
    policy: SkipPolicy,
) -> StreamedSource:
    """Shards to read front to back; without an index the first sample says what they hold."""
    urls = published.urls() if published else shards
    check_shard_count(len(urls), reading.world)
    info = published.index.info() if published else None
    if info and (info.channels_b or info.latent_scale or info.depth != 8 or info.condition_dim):
        raise ConfigError(
            "pairs, latents, images of 16 bits and labels that are vectors are read by index; set "
            "cache_dir to a folder that keeps copies"
        )
    if published:
        info = published.index.info()
        counts = [shard.count for shard in published.index.shards]
    else:
        info, counts = _info_of_first(urls, reading), None
    if not reading.labels:
        info = dataclasses.replace(info, num_classes=0, class_names=(), label_counts=())
    info = dataclasses.replace(info, identity=_identity(map(repr, _facts(urls, published))))
    return StreamedSource(
        info,
        urls,
        policy,
        counts=counts,
        cache_dir=reading.cache_dir,
        former_identities=_former_identities(urls, published),
    )


def _identity(parts: Iterable[str]) -> str:
    return "stream:" + hashlib.sha256(",".join(parts).encode()).hexdigest()[:24]


def _facts(urls: list[str], published: Published | None) -> Iterator[tuple]:
    """What tells shards from others of the same name: all that is known without reading them."""
    if published:
        yield from map(dataclasses.astuple, published.index.shards)
        return
    asked = set(urls[:: -(-len(urls) // MOST_ASKED)])
    for url in urls:
        if scheme_of(url) in ("", "file"):
            yield name_of(url), local_path(url).stat().st_size
        elif scheme_of(url) in HTTP and url in asked:
            yield name_of(url), *version_of(url)
        else:
            yield name_of(url), None


def _former_identities(urls: list[str], published: Published | None) -> tuple[str, ...]:
    """Those of runs from before identities knew sizes, and from before servers were asked."""
    names = [url.rpartition("/")[2] for url in urls]
    if published or not any(scheme_of(url) in HTTP for url in urls):
        return (_identity(names),)
    return _identity(names), _identity(repr((name, None)) for name in names)


def _info_of_first(urls: list[str], reading: Reading) -> DataInfo:
    sample = _first_sample(urls[0], reading.cache_dir)
    if sample.image_b is not None:
        raise ConfigError(
            f"{urls[0]} holds pairs, which are read by index; publish the index beside the shards "
            "and set cache_dir"
        )
    try:
        height, width, channels = image_shape(sample.image.data)
    except BadImage as error:
        raise DataError(
            f"member {sample.name} in shard {urls[0]} {error}; the first image has to be readable "
            "when there is no index, so replace it and pack again"
        ) from error
    if reading.labels and sample.label is not None and reading.num_classes is None:
        raise ConfigError(
            f"{urls[0]} has labels, but without an index the number of classes is not known; set "
            "num_classes, set labels to false, or publish the index beside the shards"
        )
    classes = (reading.num_classes or 0) if reading.labels else 0
    return DataInfo(None, channels, height, width, classes, (), (), "")


def _first_sample(url: str, cache_dir: str | None) -> Sample:
    for sample in read_shard(url, cache_dir=cache_dir):
        return sample
    raise DataError(f"shard {url} holds no image; check that it is a WebDataset shard")
