"""A folder of downloaded shards, shared by the processes of a node.

A file is named by the hash of its whole URL, so ``A/000.tar`` and ``B/000.tar`` never mix. One
process downloads while the others wait at a lock; a file appears under its name only when it is
complete, and the least recently used ones make room when the folder is over its limit.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from largegan.errors import DataError, EnvironmentFault

ENV_LIMIT = "LARGEGAN_CACHE_BYTES"


def cache_name(url: str) -> str:
    base = url.split("?", 1)[0].rstrip("/").rsplit("/", 1)[-1]
    return f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{base}"


def cached(
    url: str,
    cache_dir: str | Path,
    *,
    opener: Callable[[], AbstractContextManager[BinaryIO]],
    size: int | None = None,
    sha256: str | None = None,
    limit_bytes: int | None = None,
) -> Path:
    """Path of the local copy of ``url``, downloaded through ``opener`` if it is not there.

    ``size`` (bytes) is checked every time, ``sha256`` after the download. ``limit_bytes`` is the
    most the folder keeps (default: the environment's LARGEGAN_CACHE_BYTES, else no limit).
    Raises DataError for a wrong download, EnvironmentFault when the folder cannot be written.
    """
    folder = Path(cache_dir)
    path = folder / cache_name(url)
    if not _usable(path, size):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / (path.name + ".lock")):
                if not _usable(path, size):  # another process may have been faster
                    _download(path, url, opener, size=size, sha256=sha256)
                    limit = limit_bytes or int(os.environ.get(ENV_LIMIT, 0))
                    if limit:
                        _evict(folder, limit, keep=path)
        except OSError as error:
            raise EnvironmentFault(
                f"the cache {folder} cannot be written ({error.strerror or error}); free some "
                "space or choose another cache_dir"
            ) from error
    with contextlib.suppress(OSError):  # evicted meanwhile, or a read-only cache
        os.utime(path)
    return path


def _usable(path: Path, size: int | None) -> bool:
    return path.is_file() and (size is None or path.stat().st_size == size)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _download(
    path: Path,
    url: str,
    opener: Callable[[], AbstractContextManager[BinaryIO]],
    *,
    size: int | None,
    sha256: str | None,
) -> None:
    temporary = path.with_name(f".{path.name}.tmp.{os.getpid()}")
    try:
        with temporary.open("wb") as target, opener() as source:
            digest, length = _copy(source, target)
            expected = getattr(source, "length", None)  # what an HTTP answer still owes
        if expected:
            raise DataError(f"the download of {url} ended {expected} bytes early; try again")
        if size is not None and length != size:
            raise DataError(
                f"{url} has {length} bytes, but its index says {size}; publish shards and index "
                "together"
            )
        if sha256 is not None and digest != sha256:
            raise DataError(f"{url} does not have the sha256 of its index; publish it again")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _copy(source: BinaryIO, target: BinaryIO) -> tuple[str, int]:
    digest, length = hashlib.sha256(), 0
    while block := source.read(1 << 20):
        try:
            target.write(block)
        except OSError as error:  # told apart from a failure of the source
            raise EnvironmentFault(
                f"the cache cannot be written ({error.strerror}); free some space or choose "
                "another cache_dir"
            ) from error
        digest.update(block)
        length += len(block)
    return digest.hexdigest(), length


def _evict(folder: Path, limit: int, *, keep: Path) -> None:
    """Remove the least recently used files; a map that is still open stays readable."""
    files = [p for p in folder.glob("????????????????-*") if p.suffix != ".lock"]
    stats = sorted((p.stat().st_mtime, p.stat().st_size, p) for p in files)
    total = sum(size for _, size, _ in stats)
    for _, size, path in stats:
        if total <= limit:
            return
        if path != keep:
            path.unlink(missing_ok=True)
            total -= size
