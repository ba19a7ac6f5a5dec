"""MNIST's idx files, gzipped or not: big-endian arrays of bytes, images and labels apart.

`x-images-idx3-ubyte` goes with `x-labels-idx1-ubyte`; Fashion-MNIST, KMNIST and EMNIST are alike.
"""

import gzip
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from largegan.data.account import Account
from largegan.data.originals import Originals, Request, classes_of
from largegan.data.splits import chosen
from largegan.errors import ConfigError, DataError, shown

FOLDERS = ("", "raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw", "EMNIST/raw", "QMNIST/raw")
IMAGES = re.compile(r"(.*)images([-.])idx3-ubyte(\.gz)?")
GZIP, BYTES = b"\x1f\x8b", 8  # the code of unsigned bytes
LARGEST = 4 << 30  # bytes of an array


def recognizes(path: Path) -> bool:
    if path.is_file():
        return bool(IMAGES.fullmatch(path.name))
    return _root(path) is not None


def _root(path: Path) -> Path | None:
    return next((path / name for name in FOLDERS if _images(path / name)), None)


def _images(folder: Path) -> list[str]:
    """One file of images for each set: the plain one, where it lies beside its gzip."""
    if not folder.is_dir():
        return []
    names = sorted(p.name for p in folder.iterdir() if IMAGES.fullmatch(p.name))
    return [name for name in names if name.removesuffix(".gz") not in names or name[-3:] != ".gz"]


def read(source: Path, request: Request) -> Originals:
    """The images of a split, train where none is named. Raises DataError, ConfigError."""
    account = Account()
    folder, files = source.parent, [source.name]
    if source.is_dir():
        folder = _root(source) or source
        files = chosen(_images(folder), request.split, account, where=shown(source))
        _refuse_several_sets(files, source)
    stacks, labels, names = [], [], []
    for file in files:
        images = read_idx(folder / file, dimensions=3)
        stacks.append(images)
        found = _labels(folder, file, len(images))
        if found[:1] == [None]:
            account.leave("labels: there is no file of them beside", file)
        labels += found
        names += [f"image {i} of {file}" for i in range(len(images))]
    if len({stack.shape[1:] for stack in stacks}) > 1:
        raise DataError(f"the files of {shown(source)} hold images of different sizes")
    pixels = np.concatenate(stacks)[..., None]
    classes = classes_of(labels, names, request, where=shown(source))
    return Originals(names, lambda i: pixels[i], account=account).labeled(classes)


def _refuse_several_sets(files: list[str], source: Path) -> None:
    """EMNIST's folder has six sets, of different classes."""
    sets = sorted({re.sub(r"(train|test|t10k).*", "", name) for name in files})
    if len(sets) > 1:
        raise ConfigError(
            f"{shown(source)} holds several sets ({', '.join(map(shown, files))}); give the file "
            "of images of one of them"
        )


def _labels(folder: Path, file: str, count: int) -> list[int | None]:
    """The classes beside a file of images; None each where there are none."""
    stem, dash, _ = IMAGES.fullmatch(file).groups()
    plain = folder / f"{stem}labels{dash}idx1-ubyte"
    path = next((p for p in (plain, plain.with_name(plain.name + ".gz")) if p.is_file()), None)
    if path is None:
        return [None] * count
    found = read_idx(path, dimensions=1)
    if len(found) != count:
        raise DataError(f"{shown(path)} has {len(found)} labels, and there are {count} images")
    return found.tolist()


def read_idx(path: Path, *, dimensions: int) -> np.ndarray:
    """uint8 of an idx file; its claims are compared with its bytes. Raises DataError."""
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == GZIP
        with gzip.open(path) if packed else path.open("rb") as file:
            head = file.read(4 + 4 * dimensions)
            if len(head) < 4 + 4 * dimensions or head[:4] != bytes((0, 0, BYTES, dimensions)):
                raise ValueError(f"it is no idx of bytes with {dimensions} dimensions")
            shape = struct.unpack(f">{dimensions}I", head[4:])
            size = math.prod(shape)
            if not 0 < size <= LARGEST:
                raise ValueError(f"it claims the shape {shape}")
            data = file.read(size + 1)
    except (OSError, EOFError, ValueError, zlib.error) as fault:
        raise DataError(f"{shown(path)} cannot be read ({shown(fault)}); fetch it again") from fault
    if len(data) != size:
        raise DataError(
            f"{shown(path)} is damaged: its shape {shape} does not fit its bytes; fetch it again"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)
