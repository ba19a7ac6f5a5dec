"""Tensors that lie in a file: shape and type are known and checked at once, numbers read on demand.

Nothing is allocated before it is known that the file holds it.
"""

import zlib
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from largegan.errors import DataError

DTYPES = {  # torch's names of storages -> what they hold
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
MOST_DIMENSIONS = 16
MOST_REPEATED = 1 << 16  # numbers of a tensor that has more of them than its storage
LARGEST_SIZE = 1 << 48


@dataclass(eq=False)
class Storage:
    """`numel` numbers in a row; `data` are their bytes, which some formats bring last."""

    dtype: torch.dtype
    numel: int
    data: memoryview | None = None
    big_endian: bool = False
    checksum: int | None = None  # CRC-32 of the bytes

    def fill(self, data: memoryview, *, big_endian: bool = False) -> None:
        """Says which bytes they are. Raises `DataError` when there are too few or too many."""
        if len(data) != self.numel * self.dtype.itemsize:
            raise DataError(
                f"holds {len(data)} bytes where {self.numel} numbers of {self.dtype} should be"
            )
        self.data, self.big_endian = data, big_endian

    def read(self, start: int, stop: int) -> Tensor:
        """Numbers `start` to `stop` - 1, copied."""
        if self.data is None:
            raise DataError("describes a tensor whose numbers are not in the file")
        self._verify()
        size = self.dtype.itemsize
        part = np.frombuffer(self.data[start * size : stop * size], np.uint8).copy()
        if self.big_endian and size > 1:
            part = part.reshape(-1, size)[:, ::-1].copy().reshape(-1)
        return torch.from_numpy(part).view(self.dtype)

    def _verify(self) -> None:
        """Compares the bytes with their checksum, once."""
        if self.checksum is not None and zlib.crc32(self.data) != self.checksum:
            raise DataError("is damaged: the checksum of a tensor is not the recorded one")
        self.checksum = None


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A view of a storage. Raises `DataError` where it would reach outside."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self):
        numbers = (self.offset, *self.shape, *self.stride)
        fine = len(self.shape) == len(self.stride) <= MOST_DIMENSIONS
        if not fine or any(type(n) is not int or not 0 <= n < LARGEST_SIZE for n in numbers):
            raise DataError(f"describes a tensor of impossible shape {str(self.shape)[:80]}")
        if self.stop > self.storage.numel:
            raise DataError(
                f"describes a tensor of shape {list(self.shape)} that reaches beyond the "
                f"{self.storage.numel} numbers it is made of"
            )
        if self.numel > max(self.storage.numel, MOST_REPEATED):
            raise DataError(
                f"describes a tensor of shape {list(self.shape)} that repeats "
                f"{self.storage.numel} numbers"
            )

    @property
    def numel(self) -> int:
        return prod(self.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self.storage.dtype

    @property
    def stop(self) -> int:
        """The first number of the storage that it does not reach any more."""
        if not self.numel:
            return 0
        steps = zip(self.shape, self.stride, strict=True)
        return self.offset + 1 + sum((size - 1) * step for size, step in steps)

    def load(self) -> Tensor:
        """The numbers, in memory of their own."""
        if not self.numel:
            return torch.empty(self.shape, dtype=self.dtype)
        flat = self.storage.read(self.offset, self.stop)
        return flat.as_strided(self.shape, self.stride).contiguous()


@dataclass(frozen=True, eq=False)
class StoredArray:
    """A numpy array: its bytes, its type by numpy's name, its shape."""

    data: bytes
    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool

    def __post_init__(self):
        fine = len(self.shape) <= MOST_DIMENSIONS and all(
            type(n) is int and 0 <= n < LARGEST_SIZE for n in self.shape
        )
        if not fine or prod(self.shape) * self.dtype.itemsize != len(self.data):
            raise DataError(
                f"describes an array of shape {str(self.shape)[:80]} in {len(self.data)} bytes"
            )

    @property
    def numel(self) -> int:
        return prod(self.shape)

    def array(self) -> np.ndarray:
        """As an array, which looks at the bytes where they lie."""
        flat = np.frombuffer(self.data, self.dtype)
        return flat.reshape(self.shape, order="F" if self.fortran else "C")

    def load(self) -> Tensor:
        """As a tensor, in memory of its own."""
        kind = self.dtype.newbyteorder("=")
        return torch.from_numpy(np.array(self.array(), kind, order="C"))
