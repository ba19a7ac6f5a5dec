"""Shards are written: originals in a random order that a seed decides, each image in its form."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from largegan.data.account import Account
from largegan.data.index import Index, Shard, write_index
from largegan.data.latents import LatentPreparation
from largegan.data.look import look_ahead
from largegan.data.originals import Originals
from largegan.data.plan import permutation
from largegan.data.prepare import Preparation
from largegan.data.scan import scan_shard
from largegan.errors import ConfigError, DataError, shown
from largegan.files import photos
from largegan.files.digests import sha256_of
from largegan.files.photos import BadImage
from largegan.files.reading import reading

BATCH_PER_THREAD = 16  # encoded images in memory while packing
NAME = r"[^\W.][^./\\\0{}*?\[\]]{0,99}"  # of shards: a plain word


@dataclasses.dataclass
class Packed:
    """What was written, one sentence for each image that was bad, and what else was left out."""

    index: Index
    skipped: list[str]
    account: Account
    notes: list[str]  # on what became of the pixels


@dataclasses.dataclass(frozen=True)
class Layout:
    """How samples are laid out in shards, in the order of `seed`. Raises ConfigError.

    A shard ends at `shard_bytes`, or with `shard_count` at an equal share of the samples. With
    `on_error` "skip" what cannot be read is left out and named.
    """

    seed: int = 0
    shard_bytes: int = 256 << 20
    shard_count: int | None = None
    name: str = "shard"
    on_error: str = "raise"
    threads: int = 1

    def __post_init__(self) -> None:
        if self.on_error not in ("raise", "skip"):
            raise ConfigError(f"on_error is {self.on_error!r}; choose raise or skip")
        if not re.fullmatch(NAME, self.name) or not self.name.isprintable():
            raise ConfigError(
                f"name {shown(self.name)!r} holds a dot or a slash, or is empty or too long; "
                "choose a plain word"
            )
        if self.shard_count is not None and self.shard_count < 1:
            raise ConfigError(f"shard_count is {self.shard_count}; it is at least 1")


def fill(
    folder: Path,
    originals: Originals,
    how: list,
    layout: Layout,
    *,
    progress: Callable[[Iterable, int], Iterable] = lambda items, total: items,
) -> Packed:
    """Writes originals into a folder as shards with their index; ``how`` each image is stored."""
    count = len(originals.names)
    facts = look_ahead(originals, how[0], on_error=layout.on_error)
    encoded = _encode_all(originals, how, seed=layout.seed, threads=layout.threads)
    skipped: list[str] = []
    samples = _one_size(progress(encoded, count), layout.on_error, skipped, wanted=facts.size)
    per_shard = math.ceil(count / layout.shard_count) if layout.shard_count else None
    size = _write_shards(
        samples,
        folder / layout.name,
        how[0],
        shard_bytes=layout.shard_bytes,
        per_shard=per_shard,
    )
    index = _index_of(folder, size, originals, how, seed=layout.seed)
    write_index(folder, index)
    return Packed(index, skipped, originals.account, facts.notes(how[0]))


def _encode_all(
    originals: Originals, how: list[Preparation], *, seed: int, threads: int
) -> Iterator[tuple[str, int | None, object]]:
    """(name, label, encoded images or their BadImage) in the packed order, a few at a time.

    ``how`` has a preparation for the image of a sample, or two for the images of a pair.
    """

    def encode(i: int) -> tuple[str, int | None, object]:
        label = originals.labels[i] if originals.labels is not None else None
        try:
            with reading(originals.names[i]):
                loaded = originals.load(i)
                _note_frames(loaded, originals.names[i], originals.account)
                return originals.names[i], label, _encode(loaded, how)
        except (BadImage, OSError, DataError) as error:
            return originals.names[i], label, error

    order = permutation(len(originals.names), seed=seed, epoch=0, stream=0).tolist()
    step = threads * BATCH_PER_THREAD
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(order), step):
            yield from pool.map(encode, order[start : start + step])


def _note_frames(loaded: bytes | np.ndarray | tuple, name: str, account: Account) -> None:
    """Of an animation or of pages the first is taken, and the account says so."""
    images = loaded if isinstance(loaded, tuple) else (loaded,)
    if any(isinstance(image, bytes) and photos.has_more(image) for image in images):
        account.leave("files whose first frame or page is taken: the other ones", name)


def _encode(
    loaded: bytes | np.ndarray | tuple, how: list[Preparation]
) -> tuple[list[bytes], tuple[int, int]]:
    """File bytes of a sample's images and their (height, width); raises BadImage."""
    images = loaded if isinstance(loaded, tuple) else (loaded,)
    encoded = [prepare.encode(image) for prepare, image in zip(how, images, strict=True)]
    sizes = [size for _, size in encoded]
    if sizes[0] != sizes[-1]:
        (h, w), (height, width) = sizes
        raise BadImage(
            f"is {h}x{w} (height x width) in a and {height}x{width} in b; give --resolution"
        )
    return [data for data, _ in encoded], sizes[0]


def _one_size(
    encoded: Iterable[tuple[str, int | None, object]],
    on_error: str,
    skipped: list[str],
    *,
    wanted: tuple[int, int] | None,
) -> Iterator[tuple[int | None, list[bytes], tuple[int, int]]]:
    """Encoded images that can be packed; the others are raised or noted in ``skipped``.

    They all have the size ``wanted``, or that of the first.
    """
    first = ("most of the others", wanted) if wanted else None
    for name, label, result in encoded:
        if isinstance(result, tuple):
            data, size = result
            first = first or (name, size)
            if size == first[1]:
                yield label, data, size
                continue
            problem = (
                f"{shown(name)} is {size[0]}x{size[1]} (height x width), but {shown(first[0])} is "
                f"{first[1][0]}x{first[1][1]}; give --resolution"
            )
        elif isinstance(result, DataError):
            problem = str(result)
        else:
            problem = f"{shown(name)} {result}; repair or remove it, or use --on-error skip"
        if on_error == "raise":
            raise DataError(problem)
        skipped.append(problem)


def _write_shards(
    samples: Iterable[tuple[int | None, list[bytes], tuple[int, int]]],
    prefix: Path,
    preparation: Preparation | LatentPreparation,
    *,
    shard_bytes: int,
    per_shard: int | None,
) -> tuple[int, int]:
    """Write all shards; returns the (height, width) of their images."""
    from webdataset import ShardWriter

    size = None
    pattern = str(prefix).replace("%", "%%") + "-%06d.tar"
    limits = {"maxcount": per_shard or 1 << 62, "maxsize": 1 << 62 if per_shard else shard_bytes}
    # Owner, mode and time of the members are constant, so that the bytes depend on the images only.
    with ShardWriter(pattern, verbose=0, encoder=False, mtime=0, **limits) as writer:
        for number, (label, data, shape) in enumerate(samples):
            size = shape
            endings = [f"{domain}.{preparation.format}" for domain in "ab"]
            endings = endings if len(data) == 2 else [preparation.format]
            sample = {"__key__": f"{number:08d}", **dict(zip(endings, data, strict=True))}
            if label is not None:
                sample["cls"] = str(label).encode()
            writer.write(sample)
    if size is None:
        raise DataError("no image could be packed; see the reasons above")
    return size


def _index_of(
    folder: Path,
    size: tuple[int, int],
    originals: Originals,
    how: list[Preparation],
    *,
    seed: int,
) -> Index:
    """The index of freshly written shards, read back from what is on disk."""
    shards, entries = [], []
    for path in sorted(folder.glob("*.tar")):
        rows, _ = scan_shard(path)
        shards.append(Shard(path.name, path.stat().st_size, sha256_of(path), len(rows)))
        entries.append(rows)
    classes = 0
    if originals.labels is not None:
        classes = max(1 + max(originals.labels), len(originals.class_names))
    made = {"seed": seed, **dataclasses.asdict(how[0]), "size": list(size)}
    return Index(
        shards=tuple(shards),
        entries=tuple(entries),
        channels=how[0].channels,
        height=size[0],
        width=size[1],
        num_classes=classes,
        class_names=tuple(originals.class_names),
        packed_random=True,
        channels_b=how[1].channels if len(how) == 2 else 0,
        latent_scale=how[0].scale if isinstance(how[0], LatentPreparation) else 0.0,
        depth=getattr(how[0], "depth", 8),
        conditions=None if originals.vectors is None else np.array(originals.vectors, np.float32),
        made={k: np.array(v).tolist() if isinstance(v, tuple) else v for k, v in made.items()},
    )
