"""What people's images come in: one file per format, and one row in `FORMATS`.

A format is recognized by what is in the file or folder, never by a setting, and read as
`Originals`: images by number. To add one, write a file with `recognizes(path)` and
`read(path, request)` and give it a row here; `largegan pack`, `--data.path` and `largegan fid` then
take it. The first row that recognizes a path reads it, so what is more particular stands higher.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from largegan.data.formats import (
    cifar,
    folder,
    hdf5,
    listing,
    lmdb,
    mnist,
    npy,
    npz,
    parquet,
    shards,
    zips,
)
from largegan.data.formats.latents import open_latents
from largegan.data.formats.pairs import open_pairs
from largegan.data.labels import check_classes
from largegan.data.latents import LatentPreparation
from largegan.data.originals import Originals, Request
from largegan.data.prepare import Preparation
from largegan.data.stacks import decoded_arrays
from largegan.errors import ConfigError, DataError, reason, shown
from largegan.files.photos import BadImage


@dataclass(frozen=True)
class Format:
    """A row: what people call it, and the two functions of its file."""

    about: str
    recognizes: Callable[[Path], bool]
    read: Callable[[Path, Request], Originals]


FORMATS = {
    "npz": Format("an .npz of arrays", npz.recognizes, npz.read),
    "npy": Format("an .npy of many images", npy.recognizes, npy.read),
    "zip": Format("a .zip of images", zips.recognizes, zips.read),
    "hdf5": Format("an HDF5 file", hdf5.recognizes, hdf5.read),
    "lmdb": Format("an LMDB (LSUN)", lmdb.recognizes, lmdb.read),
    "parquet": Format("parquet files (Hugging Face)", parquet.recognizes, parquet.read),
    "cifar": Format("CIFAR's Python batches", cifar.recognizes, cifar.read),
    "mnist": Format("MNIST's idx files", mnist.recognizes, mnist.read),
    "shards": Format("WebDataset shards", shards.recognizes, shards.read),
    "listing": Format("a CSV of paths and labels", listing.recognizes, listing.read),
    "folder": Format("a folder of images", folder.recognizes, folder.read),
}
PACKED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")


def format_of(source: Path) -> str:
    """The name of the first format that recognizes a path; raises DataError."""
    try:
        source.stat()
        found = next((name for name, row in FORMATS.items() if row.recognizes(source)), None)
    except FileNotFoundError as fault:
        raise DataError(f"{shown(source)} does not exist; give {known()}") from fault
    except OSError as fault:
        raise DataError(f"{shown(source)} cannot be read ({reason(fault)})") from fault
    if found == "folder" and (only := _only_file(source)) is not None:
        return format_of(only)
    if found is None and source.name.lower().endswith(PACKED):
        raise DataError(f"{shown(source)} is a packed archive; unpack it and give the folder")
    if found is None and source.suffix.lower() == npy.ENDING:
        raise DataError(
            f"{shown(source)} is an array of one image; give a folder of such files, or an array "
            "[N, H, W, C]"
        )
    if found is None:
        raise DataError(f"{shown(source)} is no set of images that is known; give {known()}")
    return found


def open_originals(source: Path, request: Request) -> Originals:
    """Images of a path by number, whatever format they are in. Raises DataError, ConfigError."""
    name = format_of(source)
    if name != "folder" and FORMATS["folder"].recognizes(source):
        source = _only_file(source) or source
    found = FORMATS[name].read(source, request)
    return dataclasses.replace(found, load=decoded_arrays(found.load, windowed=request.windowed))


def _only_file(folder: Path) -> Path | None:
    """The one file of a folder, where it is a set of images by itself: a downloaded .h5 or .zip."""
    inside = list(islice((p for p in folder.iterdir() if p.name[0] != "."), 2))
    if len(inside) != 1 or not inside[0].is_file():
        return None
    return inside[0] if any(row.recognizes(inside[0]) for row in FORMATS.values()) else None


def known() -> str:
    *most, last = (row.about for row in FORMATS.values())
    return f"{', '.join(most)} or {last}"


def opened(
    source: Path,
    preparation: Preparation | LatentPreparation,
    request: Request,
    *,
    channels_b: int | None,
) -> tuple[Originals, list]:
    """The originals, and how the image, or both images, of a sample are stored."""
    if isinstance(preparation, LatentPreparation):
        originals = _with_classes(open_latents(source, request), request, source)
        return originals, [_with_channels(preparation, originals)]
    request = dataclasses.replace(request, windowed=preparation.window is not None)
    if channels_b is None:
        return _with_classes(open_originals(source, request), request, source), [preparation]
    second = dataclasses.replace(preparation, channels=channels_b)
    pairs = open_pairs(source, request, open_originals)
    return _with_classes(pairs, request, source), [preparation, second]


def _with_channels(preparation: LatentPreparation, originals: Originals) -> LatentPreparation:
    """As many as the first latent that can be read has."""
    for i in range(len(originals.names)):
        try:
            return dataclasses.replace(preparation, channels=originals.load(i).shape[0])
        except (BadImage, IndexError, OSError):
            continue
    raise DataError(f"none of {len(originals.names)} latents can be read; save them again")


def _with_classes(originals: Originals, request: Request, source: Path) -> Originals:
    """Apply the names and numbering that were asked for; raises ConfigError if they do not fit."""
    labels, compact = originals.labels, request.compact_labels
    if labels is None:
        if request.class_names or compact:
            raise ConfigError("the source has no labels, so classes cannot be named or renumbered")
        return originals
    names = originals.class_names
    if originals.vectors is not None and (request.class_names or compact):
        raise ConfigError(
            "labels that are vectors have no names or numbers; leave those options out"
        )
    if compact:
        used = sorted(set(labels))
        number = {label: i for i, label in enumerate(used)}
        labels = [number[label] for label in labels]
        names = [names[label] for label in used] if names else []
    names = list(request.class_names) or names
    check_classes(labels, names, where=source)
    if names and len(names) <= max(labels):
        raise ConfigError(
            f"{len(names)} class names were given, but labels go up to {max(labels)}; name every "
            "class"
        )
    return dataclasses.replace(originals, labels=labels, class_names=list(names))
