"""Training on what people have: packed once, by content, into the cache, and read from there.

A copy is named by what went into it: every image's bytes and label, and how they are stored. So a
run that resumes finds the same shards, wherever the images lie by then, and images that were added
make another copy. What was seen of the files (names, sizes, times) is remembered beside the copies,
so that they are read once and not at every start.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from largegan.data.account import examples
from largegan.data.cache import locked
from largegan.data.copies import PACKED
from largegan.data.decode import JPEG_START
from largegan.data.formats import opened
from largegan.data.formats.shards import trains_as_is
from largegan.data.index import INDEX_NAME
from largegan.data.index_files import parse_index
from largegan.data.originals import DEFAULT, Originals, Request
from largegan.data.prepare import Preparation, size_of
from largegan.data.transforms import Framing
from largegan.data.writing import Layout, Packed, fill
from largegan.errors import ConfigError, DataError, EnvironmentFault, shown
from largegan.files.output import faults, new_folder, release, reserve, write_text
from largegan.files.photos import BadImage

VERSION = 1  # of what copies hold; another one packs again
LOSSLESS_UP_TO = 128  # pixels of a side: PNG costs little there, and JPEG shows in scores
Size = tuple[int, int]  # height and width


@dataclasses.dataclass(frozen=True)
class Wanted:
    """How images become shards; the sizes are those of the `data` settings.

    Args:
        resolution: the side that training sees.
        resize, crop: what training does on the device, see `Framing`.
        channels_b: samples are pairs, and b has so many channels.
    """

    request: Request = DEFAULT
    resolution: int | None = None
    resize: int | None = None
    crop: int | None = None
    fit: str = "center-crop"
    channels: int = 3
    channels_b: int | None = None
    window: tuple[float, float] | None = None
    depth: int = 8
    on_error: str = "raise"

    def exact_size(self) -> Size | None:
        """The size that images must have, where training does not change it."""
        free = self.resize or self.crop or not self.resolution
        return None if free else (self.resolution, self.resolution)


@dataclasses.dataclass(frozen=True)
class Copy:
    """Shards in the cache, and sentences on how they came to be there."""

    path: Path
    notes: tuple[str, ...]


def copy_in_cache(source: Path, wanted: Wanted, folder: Path) -> Copy:
    """Shards of the images in `source`, which are packed unless they have been before.

    One process of a machine packs while the others wait. Raises DataError, ConfigError,
    EnvironmentFault.
    """
    folder = folder / PACKED
    seen = _digest([VERSION, repr(wanted), *_stats(source)])
    known = folder / f"{seen}.json"
    with faults(folder, "choose another data.cache_dir"):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f"{seen}.lock"):
            found = _remembered(known, folder)
            if found is not None:
                _used(found)
                return Copy(found, ())
            copy = _pack(source, wanted, folder)
            _used(copy.path)
            about = {
                "largegan": "packed",
                "copy": copy.path.name,
                "source": shown(source.resolve()),
            }
            write_text(known, json.dumps(about))
            return copy


def _used(copy: Path) -> None:
    """Says so to `copies`, which removes what is not used any more."""
    with contextlib.suppress(OSError):  # of somebody else
        os.utime(copy / INDEX_NAME)


def _remembered(known: Path, folder: Path) -> Path | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = folder / Path(json.loads(known.read_text())["copy"]).name
        return found if _is_whole(found) else None
    return None


def _is_whole(copy: Path) -> bool:
    """Whether all shards of a copy are there, as long as they were written."""
    try:
        index = parse_index((copy / INDEX_NAME).read_bytes(), where=str(copy))
        return all((copy / s.name).stat().st_size == s.bytes for s in index.shards)
    except (OSError, DataError):
        return False


def _stats(source: Path) -> Iterator[list]:
    """Name, size and time of every file."""
    if source.is_file():
        yield [source.name, source.stat().st_size, source.stat().st_mtime_ns]
        return
    for folder, folders, names in os.walk(source, followlinks=True):
        folders.sort()
        for name in sorted(names):
            with contextlib.suppress(OSError):  # a link that leads nowhere
                facts = os.stat(os.path.join(folder, name))
                place = os.path.relpath(os.path.join(folder, name), source)
                yield [os.fsencode(place).hex(), facts.st_size, facts.st_mtime_ns]


def _digest(parts: list) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _pack(source: Path, wanted: Wanted, folder: Path) -> Copy:
    """Reads all images for their digest and sizes, and packs them if no copy has that digest."""
    scratch = reserve(folder / "scratch")
    try:
        scratch.mkdir()
        request = dataclasses.replace(wanted.request, scratch=scratch)
        preparation = Preparation(
            channels=wanted.channels, format="png", window=wanted.window, depth=wanted.depth
        )
        originals, _ = opened(source, preparation, request, channels_b=wanted.channels_b)
        look = look_at(originals, source)
        how = _how(look, wanted, preparation, source)
        labels = originals.labels, originals.vectors, originals.class_names
        target = folder / _digest([VERSION, look.digest, *map(repr, how), labels])
        packed = None if _is_whole(target) else _fill(target, originals, how, wanted)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        release(scratch)
    return Copy(
        target,
        () if packed is None else tuple(_account(packed, source / wanted.request.inside, target)),
    )


def _fill(target: Path, originals: Originals, how: list, wanted: Wanted) -> Packed | None:
    """Packs into a new folder; None where another machine with the same disk was faster."""
    layout = Layout(on_error=wanted.on_error, threads=2)
    shutil.rmtree(target, ignore_errors=True)  # what is there is not whole
    try:
        with new_folder(target) as partial:
            return fill(partial, originals, how, layout, progress=_bar)
    except EnvironmentFault:
        if _is_whole(target):
            return None
        raise


def _bar(items: Iterable, total: int) -> Iterable:
    return tqdm(items, "packing", total, unit="img", disable=None)


def _account(packed: Packed, source: Path, target: Path) -> Iterator[str]:
    """What was packed, and what was left out and why."""
    index = packed.index
    yield (
        f"packed {sum(s.count for s in index.shards)} images of {shown(source)} at "
        f"{index.height}x{index.width} into {target}, {len(packed.skipped)} skipped, "
        f"{packed.account.count} left out"
    )
    for sentence in packed.skipped:
        yield f"  skipped: {sentence}"
    for sentence in (*packed.account.sentences(), *packed.notes):
        yield f"  {sentence}"


@dataclasses.dataclass
class Look:
    """What all originals are like."""

    digest: str
    sizes: Counter[Size]
    lossless: bool
    names: dict[Size, str]  # an image of each size
    fault: str = ""  # of the last that cannot be read


def look_at(originals: Originals, source: Path) -> Look:
    """Reads every image once; those that cannot be read are named when they are packed."""
    found, sizes, names = hashlib.sha256(), Counter(), {}
    lossless, last = True, ""
    everything = range(len(originals.names))
    for i in tqdm(everything, f"looking at {source.name}", unit="img", disable=None):
        try:
            loaded = originals.load(i)
            for image in loaded if isinstance(loaded, tuple) else (loaded,):
                found.update(hashlib.sha256(_plain(image)).digest())
                lossless &= not (isinstance(image, bytes) and image.startswith(JPEG_START))
                size = size_of(image)
                sizes[size] += 1
                names.setdefault(size, originals.names[i])
        except (BadImage, OSError, DataError) as fault:
            found.update(str(fault).encode())
            last = f"{shown(originals.names[i])} {fault}"
    return Look(found.hexdigest(), sizes, lossless, names, last)


def _plain(image: bytes | np.ndarray) -> bytes:
    if isinstance(image, bytes):
        return image
    return f"{image.dtype}{image.shape}".encode() + np.ascontiguousarray(image).tobytes()


def _how(look: Look, wanted: Wanted, preparation: Preparation, source: Path) -> list[Preparation]:
    """The size and the format that images are stored with, for each image of a sample."""
    size = stored_size(look, wanted, source)
    final = size or next(iter(look.sizes))
    small = max(final) <= LOSSLESS_UP_TO
    lossless = wanted.channels == 4 or wanted.depth == 16 or (look.lossless and small)
    how = [
        dataclasses.replace(
            preparation, size=size, fit=wanted.fit, format="png" if lossless else "jpg"
        )
    ]
    if wanted.channels_b is not None:
        how.append(dataclasses.replace(how[0], channels=wanted.channels_b))
    return how


def stored_size(look: Look, wanted: Wanted, source: Path) -> Size | None:
    """The size to pack at; None keeps that of all images. Raises ConfigError where they differ.

    What training would only make smaller is stored small; what it enlarges, or cuts, is kept.
    """
    if not look.sizes:
        raise DataError(f"no image of {shown(source)} can be read; the last one: {look.fault}")
    exact = wanted.exact_size()
    if exact is not None:
        return None if set(look.sizes) == {exact} else exact
    if len(look.sizes) == 1:
        (alike,) = look.sizes
        smaller = wanted.resize is not None and wanted.resize < min(alike)
        return Framing(wanted.resize).resized(*alike) if smaller else None
    if wanted.resize:
        return wanted.resize, wanted.resize
    (one, _), (other, _) = look.sizes.most_common(2)
    raise ConfigError(
        f"the images of {shown(source)} have {len(look.sizes)} sizes, such as "
        f"{one[0]}x{one[1]} ({examples([look.names[one]])}) and {other[0]}x{other[1]}; say which "
        "to train at with data.resolution"
    )


def is_packed(path: str, wanted: Wanted | None = None) -> bool:
    """Whether a path names shards to train on, or data that need none: nothing to be packed.

    Shards of others are packed anew where `wanted` is not what they hold.
    """
    place = Path(path)
    if ":" in path.partition("/")[0] or "://" in path or not place.exists():
        return True  # bundled:, synthetic:, pipe:, URLs, patterns, and what is missing
    if place.is_file() and place.suffix != ".tar":
        return place.suffix == ".json"
    folder = place if place.is_dir() else place.parent
    if any((folder / name / INDEX_NAME).is_file() for name in ("", "a", "b")):
        return True
    tars = [place] if place.is_file() else sorted(place.glob("*.tar"))
    if not tars:
        return any(next((place / name).glob("*.tar"), None) for name in ("a", "b"))
    return wanted is None or trains_as_is(tars[0], wanted.request, wanted.exact_size())
