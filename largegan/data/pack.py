"""Write images as WebDataset shards in a seeded random order, with their index.

Two passes: the first lists the images and permutes them all, the second encodes them in that
order. Shards sorted by class would leave most classes out of a batch. The same source and seed
give the same bytes.
"""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from largegan.data.account import Account
from largegan.data.index import Index, Shard, write_index
from largegan.data.labels import check_classes
from largegan.data.latents import LatentPreparation, open_latents
from largegan.data.originals import LABEL_CHOICES, Originals, open_originals, open_pairs
from largegan.data.plan import permutation
from largegan.data.prepare import Preparation, size_of
from largegan.data.scan import file_sha256, scan_shard
from largegan.errors import ConfigError, DataError
from largegan.files import photos
from largegan.files.output import claim_new_folder, new_folder, shown
from largegan.files.photos import BadImage
from largegan.files.reading import reading

BATCH_PER_THREAD = 16  # encoded images in memory while packing


@dataclasses.dataclass
class Packed:
    """What was written, one sentence for each image that was bad, and what else was left out."""

    index: Index
    skipped: list[str]
    account: Account
    notes: list[str]  # on what became of the pixels


def pack(
    source: Path,
    out: Path,
    *,
    preparation: Preparation | LatentPreparation,
    seed: int = 0,
    shard_bytes: int = 256 << 20,
    shard_count: int | None = None,
    labels: str = "auto",
    class_names: list[str] | None = None,
    compact_labels: bool = False,
    name: str = "shard",
    on_error: str = "raise",
    threads: int = 1,
    channels_b: int | None = None,
    progress: Callable[[Iterable, int], Iterable] = lambda items, total: items,
) -> Packed:
    """Pack ``source`` into the new folder ``out``; raises DataError and ConfigError.

    A shard ends at ``shard_bytes``, or with ``shard_count`` at an equal share of the images.
    ``compact_labels`` renumbers the classes so that none is empty. With ``channels_b`` the source
    holds pairs in its sub-folders a and b, and that is how b is stored. The folder appears under
    its name only when it is complete.
    """
    _check_request(on_error=on_error, labels=labels, name=name, shard_count=shard_count)
    claim_new_folder(out)
    how = [preparation]
    if channels_b is not None:
        how.append(dataclasses.replace(preparation, channels=channels_b))
    with new_folder(out) as temporary:
        if isinstance(preparation, LatentPreparation):
            originals = open_latents(source, labels=labels, scratch=temporary)
            how[0] = preparation = _with_channels(preparation, originals)
        elif channels_b is None:
            windowed = preparation.window is not None
            originals = open_originals(source, labels=labels, scratch=temporary, windowed=windowed)
        else:
            originals = open_pairs(source)
        originals = _with_classes(originals, class_names, source, compact=compact_labels)
        facts = _look_ahead(originals, preparation, on_error=on_error)
        encoded = _encode_all(originals, how, seed=seed, threads=threads)
        skipped: list[str] = []
        samples = _one_size(
            progress(encoded, len(originals.names)), on_error, skipped, wanted=facts.size
        )
        per_shard = math.ceil(len(originals.names) / shard_count) if shard_count else None
        sizes = _write_shards(
            samples, temporary / name, preparation, shard_bytes=shard_bytes, per_shard=per_shard
        )
        (temporary / "images.npy").unlink(missing_ok=True)
        index = _index_of(temporary, sizes, originals, how, seed=seed)
        write_index(temporary, index)
    return Packed(index, skipped, originals.account, facts.notes(preparation))


def _with_channels(preparation: LatentPreparation, originals: Originals) -> LatentPreparation:
    """As many as the first latent that can be read has."""
    for i in range(len(originals.names)):
        try:
            return dataclasses.replace(preparation, channels=originals.load(i).shape[0])
        except (BadImage, IndexError, OSError):
            continue
    raise DataError(f"none of {len(originals.names)} latents can be read; save them again")


def _check_request(*, on_error: str, labels: str, name: str, shard_count: int | None) -> None:
    if on_error not in ("raise", "skip"):
        raise ConfigError(f"on_error is {on_error!r}; choose raise or skip")
    if labels not in LABEL_CHOICES:
        raise ConfigError(f"labels is {labels!r}; choose one of {', '.join(LABEL_CHOICES)}")
    if not re.fullmatch(r"[^\W.][^./\\\0{}*?\[\]]{0,99}", name) or not name.isprintable():
        raise ConfigError(
            f"name {shown(name)!r} holds a dot or a slash, or is empty or too long; choose a plain "
            "word"
        )
    if shard_count is not None and shard_count < 1:
        raise ConfigError(f"shard_count is {shard_count}; it is at least 1")


@dataclasses.dataclass
class Facts:
    """What a look at the originals' headers found before the work."""

    size: tuple[int, int] | None = None  # (height, width) of most of them, where that matters
    deep: int = 0  # images of more than 8 bits, among those looked at
    small: int = 0  # images that will be enlarged
    seen: int = 0

    def notes(self, preparation: Preparation) -> list[str]:
        """Sentences on what became of the pixels."""
        notes = []
        if isinstance(preparation, LatentPreparation):
            return notes
        if self.deep and preparation.window is None:
            notes.append(
                f"{self.deep} of the {self.seen} images looked at have 16 bits and are stored with "
                "8: 0 to 65535 became 0 to 255; --window LO,HI chooses other limits"
            )
        if self.small:
            height, width = preparation.size
            notes.append(
                f"{self.small} of the {self.seen} images looked at were smaller and have been "
                f"enlarged to {height}x{width}; they are blurred"
            )
        return notes


LOOKED_AT = 64  # images, evenly spread
DARK = 1 << 14  # of 65536: what never reaches this is not meant to be seen so dark


def _look_ahead(originals: Originals, preparation: Preparation, *, on_error: str) -> Facts:
    """Sizes and depths of some images, or of all where the most common size has to be known.

    Raises DataError for deep images that would become nearly black.
    """
    if isinstance(preparation, LatentPreparation):
        return _most_common_shape(originals) if on_error == "skip" else Facts()
    count, everything = len(originals.names), on_error == "skip" and preparation.size is None
    picks = np.arange(count)
    if not everything:
        picks = np.unique(np.linspace(0, count - 1, min(count, LOOKED_AT)).astype(int))
    sizes: Counter[tuple[int, int]] = Counter()
    facts, brightest = Facts(seen=len(picks)), 0
    for i in picks.tolist():
        try:
            loaded = originals.load(i)
            with reading(None):
                for image in loaded if isinstance(loaded, tuple) else (loaded,):
                    size = size_of(image)
                    if is_deep(image):
                        facts.deep += 1
                        brightest = max(brightest, _top(image) if facts.deep <= LOOKED_AT else 0)
            sizes[size] += 1
        except (BadImage, OSError, DataError):
            continue  # named when it is encoded
    if facts.deep and preparation.window is None and 0 < brightest < DARK:
        raise DataError(
            f"the images have 16 bits and hold values up to {brightest} of 65535, so they would be "
            f"nearly black; say with --window LO,HI which are black and white, such as --window "
            f"0,{max(255, (1 << brightest.bit_length()) - 1)}"
        )
    if everything and sizes:
        facts.size = sizes.most_common(1)[0][0]
    if preparation.size is not None:
        facts.small = sum(n for size, n in sizes.items() if _enlarged(size, preparation))
    return facts


def _most_common_shape(originals: Originals) -> Facts:
    """The height and width of most latents."""
    sizes: Counter[tuple[int, int]] = Counter()
    for i in range(len(originals.names)):
        try:
            sizes[originals.load(i).shape[1:]] += 1
        except (BadImage, OSError, DataError):
            continue  # named when it is encoded
    return Facts(size=sizes.most_common(1)[0][0] if sizes else None)


def is_deep(image: bytes | np.ndarray) -> bool:
    """Whether an image has more than 8 bits; raises BadImage."""
    return photos.is_deep(image) if isinstance(image, bytes) else image.dtype != np.uint8


def _top(image: bytes | np.ndarray) -> int:
    """The largest value of an image of 16 bits; 0 for floats, whose range nobody knows."""
    pixels = image if isinstance(image, np.ndarray) else photos.read(image).pixels
    return int(pixels.max()) if pixels.dtype == np.uint16 else 0


def _enlarged(size: tuple[int, int], preparation: Preparation) -> bool:
    """Whether fitting makes an image larger than it was."""
    scales = [wanted / found for wanted, found in zip(preparation.size, size, strict=True)]
    return (min(scales) if preparation.fit == "pad" else max(scales)) > 1


def _with_classes(
    originals: Originals, class_names: list[str] | None, source: Path, *, compact: bool
) -> Originals:
    """Apply the names and numbering that were asked for; raises ConfigError if they do not fit."""
    labels = originals.labels
    if labels is None:
        if class_names or compact:
            raise ConfigError("the source has no labels, so classes cannot be named or renumbered")
        return originals
    names = originals.class_names
    if compact:
        used = sorted(set(labels))
        number = {label: i for i, label in enumerate(used)}
        labels = [number[label] for label in labels]
        names = [names[label] for label in used] if names else []
    names = class_names or names
    check_classes(labels, names, where=source)
    if names and len(names) <= max(labels):
        raise ConfigError(
            f"{len(names)} class names were given, but labels go up to {max(labels)}; name every "
            "class"
        )
    return dataclasses.replace(originals, labels=labels, class_names=list(names))


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
                return originals.names[i], label, _encode(originals.load(i), how)
        except (BadImage, OSError, DataError) as error:
            return originals.names[i], label, error

    order = permutation(len(originals.names), seed=seed, epoch=0, stream=0).tolist()
    step = threads * BATCH_PER_THREAD
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(order), step):
            yield from pool.map(encode, order[start : start + step])


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
        shards.append(Shard(path.name, path.stat().st_size, file_sha256(path), len(rows)))
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
        made={k: np.array(v).tolist() if isinstance(v, tuple) else v for k, v in made.items()},
    )
