"""What people's images come in: one file per format, and one row in `FORMATS`.

A format is recognized by what is in the file or folder, never by a setting, and read as
`Originals`: images by number. To add one, write a file with `recognizes(path)` and
`read(path, request)` and give it a row here; `largegan pack`, `--data.path` and `largegan fid` then
take it. The first row that recognizes a path reads it, so what is more particular stands higher.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from largegan.data.formats import (
    cifar,
    folder,
    hdf5,
    listing,
    lmdb,
    mnist,
    npz,
    parquet,
    shards,
    zips,
)
from largegan.data.originals import Originals, Request
from largegan.data.stacks import decoded_arrays
from largegan.errors import DataError
from largegan.files.output import reason, shown


@dataclass(frozen=True)
class Format:
    """A row: what people call it, and the two functions of its file."""

    about: str
    recognizes: Callable[[Path], bool]
    read: Callable[[Path, Request], Originals]


FORMATS = {
    "npz": Format("an .npz of arrays", npz.recognizes, npz.read),
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
    if found is None:
        raise DataError(f"{shown(source)} is no set of images that is known; give {known()}")
    return found


def open_originals(source: Path, request: Request) -> Originals:
    """Images of a path by number, whatever format they are in. Raises DataError, ConfigError."""
    name = format_of(source)
    if name != "folder" and FORMATS["folder"].recognizes(source):
        source = _only_file(source) or source
    found = FORMATS[name].read(source, request)
    return replace(found, load=decoded_arrays(found.load, windowed=request.windowed))


def _only_file(folder: Path) -> Path | None:
    """The one file of a folder, where it is a set of images by itself: a downloaded .h5 or .zip."""
    inside = list(islice((p for p in folder.iterdir() if p.name[0] != "."), 2))
    if len(inside) != 1 or not inside[0].is_file():
        return None
    return inside[0] if any(row.recognizes(inside[0]) for row in FORMATS.values()) else None


def known() -> str:
    *most, last = (row.about for row in FORMATS.values())
    return f"{', '.join(most)} or {last}"
