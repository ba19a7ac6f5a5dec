"""Torch's first format: a tar archive of `storages`, `tensors` and `pickle` (before 0.1.10).

`storages` and `tensors` are rows of small pickles, each followed by numbers.
"""

import io
import struct
import tarfile
from typing import Any, BinaryIO

from largegan.errors import DataError
from largegan.files.pickle_records import Name
from largegan.files.stored import DTYPES, Storage, StoredTensor
from largegan.files.unpickle import Unpickler

PARTS = ("storages", "tensors", "pickle")
MOST_MEMBERS = 16


def read_tar(file: BinaryIO, data: memoryview) -> Any:
    """The object of `pickle`, whose tensors lie in the other members. Raises `DataError`."""
    parts = members(file, data)
    storages = read_storages(parts["storages"])
    tensors = read_tensors(parts["tensors"], storages)

    def persistent(identity: Any) -> Any:
        if isinstance(identity, tuple) and identity:  # a class, with its source
            return identity[0]
        found = tensors.get(key(identity), storages.get(key(identity)))
        if found is None:
            raise DataError("refers to a tensor that is not in the file")
        return found

    content = parts["pickle"]
    return Unpickler(io.BytesIO(content), len(content), persistent=persistent).load()


def members(file: BinaryIO, data: memoryview) -> dict[str, memoryview]:
    """The three parts, where they lie."""
    found: dict[str, memoryview] = {}
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for _, member in zip(range(MOST_MEMBERS), archive, strict=False):
                end = member.offset_data + member.size
                if member.isreg() and member.name in PARTS and end <= len(data):
                    found[member.name] = data[member.offset_data : end]
    except Exception as fault:  # tarfile fails on damaged bytes in many ways
        raise DataError(f"is a damaged tar archive ({type(fault).__name__}: {fault})") from fault
    if set(found) != set(PARTS):
        raise DataError("is a tar archive, but none that torch wrote whole")
    return found


class Row:
    """A row of pickles and numbers."""

    def __init__(self, data: memoryview):
        self.data, self.file = data, io.BytesIO(data)

    def unpickle(self) -> Any:
        return Unpickler(self.file, len(self.data)).load()

    def numbers(self, form: str) -> tuple[int, ...]:
        size = struct.calcsize(form)
        return struct.unpack(form, bytes(self.bytes(size)))

    def bytes(self, count: int) -> memoryview:
        start = self.file.tell()
        if not 0 <= count <= len(self.data) - start:
            raise DataError("is damaged or truncated: numbers of a tensor are missing")
        self.file.seek(start + count)
        return self.data[start : start + count]


def read_storages(data: memoryview) -> dict[str, Storage]:
    """A count; for each (key, device, type), the count of its numbers, and these; then views."""
    row, found = Row(data), {}
    for _ in range(count(row.unpickle(), data)):
        name, _, kind = row.unpickle()
        if not isinstance(kind, Name) or kind.name not in DTYPES:
            raise DataError(f"holds a storage of type {str(kind)[:40]}, which is not read")
        (numel,) = row.numbers("<q")
        storage = Storage(DTYPES[kind.name], numel)
        storage.fill(row.bytes(numel * storage.dtype.itemsize))
        found[key(name)] = storage
    if row.unpickle():
        raise DataError("holds views of storages, which are not read")
    return found


def read_tensors(data: memoryview, storages: dict[str, Storage]) -> dict[str, StoredTensor]:
    """A count; for each (key, storage, type), dimensions, sizes, strides and the offset."""
    row, found = Row(data), {}
    for _ in range(count(row.unpickle(), data)):
        name, storage, _ = row.unpickle()
        dimensions, _ = row.numbers("<ii")
        if not 0 <= dimensions <= 64 or key(storage) not in storages:
            raise DataError("is damaged: a tensor has no storage, or too many dimensions")
        sizes = row.numbers(f"<{dimensions}q")
        strides, (offset,) = row.numbers(f"<{dimensions}q"), row.numbers("<q")
        found[key(name)] = StoredTensor(storages[key(storage)], offset, sizes, strides)
    return found


def count(value: Any, data: memoryview) -> int:
    """How many follow; each has some bytes at least."""
    if type(value) is not int or not 0 <= value <= len(data):
        raise DataError("is damaged: it counts its tensors wrongly")
    return value


def key(value: Any) -> str:
    """Keys are numbers, as such or in text."""
    if type(value) not in (int, str):
        raise DataError("is damaged: a tensor is called by no number")
    return str(value)[:40]
