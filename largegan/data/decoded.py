"""Decoded images of a set that fits: decoded once, and copied from then on.

Rows of pixels in one piece of shared memory, or in one file on a local disk that several processes
and runs share. A row counts once its checksum fits it, so that a row that was half written when a
process ended is decoded again; what is read is always what decoding would give.
"""

import mmap
import shutil
import zlib
from pathlib import Path

import numpy as np
import psutil

from largegan.data.index import DataInfo
from largegan.data.reading import Reading
from largegan.errors import ConfigError
from largegan.files.output import faults

DECODED = "decoded"  # a folder of the cache
PLACES = ("no", "memory", "disk")
SHARE = 0.5  # of the free memory, or of the disk, that may be used
MARK = 4  # bytes of a checksum


class DecodedCache:
    """Room for every sample of a set. Raises ConfigError where there is not enough.

    Args:
        info: the set; its identity names the file, together with `content`.
        place: "memory" (of this process and the readers that it forks) or "disk".
        folder: where the file lies; made if need be.
        processes: how many on this machine want the same.
    """

    def __init__(
        self, info: DataInfo, place: str, folder: Path, *, content: str = "", processes: int = 1
    ):
        channels = info.channels + info.channels_b
        self.row = info.height * info.width * channels * (info.depth // 8)
        self.count = info.count or 0
        size = self.count * (self.row + MARK)
        if info.latent_scale:
            raise ConfigError("latents are stored as they are read; leave out data.decoded")
        if place == "memory":
            _check_room(size * processes, psutil.virtual_memory().available, "memory")
            data: mmap.mmap | np.memmap = mmap.mmap(-1, max(1, size))
        else:
            data = _file(folder / DECODED / f"{info.identity}{content}.bin", size)
        flat = np.frombuffer(data, np.uint8, size)
        self.marks = flat[: self.count * MARK].view("<u4")
        self.rows = flat[self.count * MARK :].reshape(self.count, self.row)

    def load(self, number: int, outs: list[np.ndarray]) -> bool:
        """Fills the images of a sample; False where it has not been decoded yet."""
        row, mark = self.rows[number], int(self.marks[number])
        if mark == 0 or _mark(row) != mark:
            return False
        start = 0
        for out in outs:
            out[...] = row[start : start + out.nbytes].view(out.dtype).reshape(out.shape)
            start += out.nbytes
        return True

    def store(self, number: int, outs: list[np.ndarray]) -> None:
        """Keeps the images of a sample; its mark is written last."""
        row, start = self.rows[number], 0
        for out in outs:
            row[start : start + out.nbytes] = np.ascontiguousarray(out).reshape(-1).view(np.uint8)
            start += out.nbytes
        self.marks[number] = _mark(row)


def _mark(row: np.ndarray) -> int:
    """A checksum that is never 0, which means that nothing is there."""
    return zlib.crc32(row) or 1


def _file(path: Path, size: int) -> np.memmap:
    with faults(path, "choose another data.cache_dir"):
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.stat().st_size if path.exists() else 0
        _check_room(max(0, size - there), shutil.disk_usage(path.parent).free, str(path.parent))
        with path.open("ab") as file:
            file.truncate(max(1, size))  # it fills as images are decoded
        path.touch()
        return np.memmap(path, np.uint8, "r+")


def _check_room(size: int, free: int, where: str) -> None:
    if size > SHARE * free:
        raise ConfigError(
            f"decoded images need {size / 1e9:.3g} GB, and {SHARE:.0%} of the {free / 1e9:.3g} GB "
            f"may be used that are free in {where}; leave out data.decoded"
        )


def decoded_once(reading: Reading, info: DataInfo, content: str) -> DecodedCache | None:
    """The cache that the settings ask for, or None; `content` is a hash of what the shards hold."""
    if reading.decoded not in PLACES:
        raise ConfigError(f"decoded is {reading.decoded!r}; choose one of {', '.join(PLACES)}")
    if reading.decoded == "no":
        return None
    place, folder = reading.decoded, reading.folder
    return DecodedCache(info, place, folder, content=content, processes=reading.neighbors)
