"""NumPy's files from outside: shapes and types are believed only as far as there are bytes."""

import io
import math
import zipfile
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from largegan.errors import DataError, shown
from largegan.files.archives import check_member, open_zip

LONGEST_HEADER = 10_000  # characters
NUMBERS = "fiub"  # kinds of numbers; never objects, which would be pickles


class Header(NamedTuple):
    """What an array's header says, and how many bytes it has itself."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    length: int


def read_header(file: BinaryIO, size: int, *, kinds: str = NUMBERS) -> Header:
    """The header of an array of `size` bytes in all. Raises ValueError."""
    start = file.tell() if file.seekable() else 0
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its format has version {version}")
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    try:
        shape, fortran, dtype = read(file, max_header_size=LONGEST_HEADER)
    except Exception as fault:  # numpy reads it as Python, which fails in every way there is
        raise ValueError(f"its header is damaged ({shown(fault)})") from fault
    length = file.tell() - start
    if dtype.kind not in kinds:
        raise ValueError(f"it holds {dtype}, not numbers")
    if any(n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != size - length:
        raise ValueError(f"its shape {shape} of {dtype} does not fit its {size} bytes")
    return Header(shape, dtype, fortran, length)


def read_array(file: BinaryIO, size: int, *, kinds: str = NUMBERS) -> np.ndarray:
    """An array of `size` bytes with its header. Raises ValueError."""
    header = read_header(file, size, kinds=kinds)
    data = file.read(size - header.length)
    if len(data) != size - header.length:
        raise ValueError("it is truncated")
    order = "F" if header.fortran else "C"
    return np.frombuffer(data, header.dtype).reshape(header.shape, order=order)


def array_of(data: bytes) -> np.ndarray:
    """The array of an .npy in memory. Raises ValueError."""
    return read_array(io.BytesIO(data), len(data))


class Npz:
    """The arrays of an .npz, by name. Raises DataError for what is damaged or too large.

    `with Npz(path) as arrays:`; `most` bounds the bytes of an array that is read into memory.
    """

    def __init__(self, path: Path, *, most: int = 2 << 30):
        self.path, self.most = path, most
        self.archive = open_zip(path, "an npz")
        entries = self.archive.infolist()
        self.entries = {e.filename.removesuffix(".npy"): e for e in entries}

    def __enter__(self) -> "Npz":
        return self

    def __exit__(self, *_: object) -> None:
        self.archive.close()

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def first(self, names: tuple[str, ...]) -> str | None:
        """The first of these names that there is."""
        return next((name for name in names if name in self.entries), None)

    def header(self, name: str) -> Header:
        """Shape and type of an array, without its numbers."""
        entry = self.entry(name)
        with _faults(self.path, name), self.archive.open(entry) as file:
            return read_header(file, entry.file_size)

    def array(self, name: str, *, kinds: str = NUMBERS) -> np.ndarray:
        """One array, in memory."""
        entry = self.entry(name)
        with _faults(self.path, name):
            check_member(entry, self.most)
            with self.archive.open(entry) as file:
                return read_array(file, entry.file_size, kinds=kinds)

    def text(self, name: str) -> str:
        """A text that was saved as an array of one."""
        return str(self.array(name, kinds="U").reshape(-1)[0])

    def entry(self, name: str) -> zipfile.ZipInfo:
        """The member of an array. Raises DataError where there is none."""
        if name not in self.entries:
            known = ", ".join(list(self.entries)[:10]) or "nothing"
            raise DataError(f"{shown(self.path)} has no array {name}; it holds {shown(known)}")
        return self.entries[name]


class _faults:
    """Around the reading of an array: whatever is raised becomes a DataError."""

    def __init__(self, path: Path, name: str):
        self.what = f"array {shown(name)} of {shown(path)}"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, fault, trace) -> None:
        if isinstance(fault, Exception) and not isinstance(fault, DataError):
            why = shown(fault) or kind.__name__
            raise DataError(f"{self.what} cannot be read as an npz ({why}); save again") from fault
