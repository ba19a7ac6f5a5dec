"""A folder of downloaded shards, shared by the processes and jobs of all nodes that see it.

A file is named by the hash of its whole URL, so ``A/000.tar`` and ``B/000.tar`` never mix. One
process downloads while the others wait at a lock; a file appears under its name only when it is
complete, and the least recently used ones make room when the folder is over its limit.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from largegan.errors import ConfigError, DataError, EnvironmentFault, reason

ENV_LIMIT = "LARGEGAN_CACHE_BYTES"
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # of some shared file systems
TRIES = 10  # to open what others may remove


def cache_name(url: str) -> str:
    """The file name of a URL's copy: a hash of all of it, then its own name, for people."""
    base = url.split("?", 1)[0].rstrip("/").rsplit("/", 1)[-1]
    plain = re.sub(r"[^A-Za-z0-9._+-]", "_", base)[-100:]
    return f"{hashlib.sha256(url.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}-{plain}"


@contextlib.contextmanager
def open_cached(url: str, cache_dir: str | Path, **how) -> Iterator[BinaryIO]:
    """The copy of a URL, open: whoever makes room meanwhile cannot take it away; see `cached`."""
    with _opened(lambda: cached(url, cache_dir, **how), url) as file:
        yield file


def _opened(locate: Callable[[], Path], url: str) -> BinaryIO:
    for _ in range(TRIES):
        path = locate()
        try:
            return path.open("rb")
        except FileNotFoundError:  # others made room between the two lines above
            continue
        except OSError as error:
            raise EnvironmentFault(
                f"{path}, the copy of {url}, cannot be opened ({reason(error)}); check it"
            ) from error
    raise EnvironmentFault(
        f"the copy of {url} is removed as soon as it is there; make {ENV_LIMIT} larger"
    )


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
        limit = limit_bytes or _limit_of_environment()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / (path.name + ".lock")):
                if not _usable(path, size):  # another process may have been faster
                    _download(path, url, opener, size=size, sha256=sha256)
                    if limit:
                        _evict(folder, limit, keep=path)
        except OSError as error:
            raise EnvironmentFault(
                f"the cache {folder} cannot be written ({reason(error)}); free some space or "
                "choose another cache_dir"
            ) from error
    with contextlib.suppress(OSError):  # evicted meanwhile, or a read-only cache
        os.utime(path)
    return path


def _limit_of_environment() -> int:
    stated = os.environ.get(ENV_LIMIT) or "0"
    if not (stated.isascii() and stated.isdigit() and len(stated) <= 18):
        raise ConfigError(f"{ENV_LIMIT} is {stated!r}; set it to a number of bytes, or to nothing")
    return int(stated)


def _usable(path: Path, size: int | None) -> bool:
    try:
        return path.is_file() and (size is None or path.stat().st_size == size)
    except FileNotFoundError:  # others made room
        return False


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone with one file, where the file system has locks; elsewhere each downloads its own."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        else:
            for left in path.parent.glob(f".{path.name.removesuffix('.lock')}.tmp.*"):
                left.unlink(missing_ok=True)  # of one that was killed
        yield


def _download(
    path: Path,
    url: str,
    opener: Callable[[], AbstractContextManager[BinaryIO]],
    *,
    size: int | None,
    sha256: str | None,
) -> None:
    temporary = path.with_name(f".{path.name}.tmp.{secrets.token_hex(8)}")
    try:
        with temporary.open("wb") as target, opener() as source:
            _check_room(path.parent, size)
            digest, length = _copy(source, target, most=size)
        if size is not None and length != size:
            many = f"more than {size}" if length > size else str(length)
            raise DataError(
                f"{url} has {many} bytes, but its index says {size}; publish shards and index "
                "together"
            )
        if sha256 is not None and digest != sha256:
            raise DataError(f"{url} does not have the sha256 of its index; publish it again")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _check_room(folder: Path, size: int | None) -> None:
    if size is not None and shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _copy(source: BinaryIO, target: BinaryIO, *, most: int | None) -> tuple[str, int]:
    """sha256 and length of what was copied; one byte more than `most` at the longest."""
    digest, length = hashlib.sha256(), 0
    left = most + 1 if most is not None else None
    while block := source.read(1 << 20 if left is None else min(left, 1 << 20)):
        _write(target, block)
        digest.update(block)
        length += len(block)
        left = None if left is None else left - len(block)
    _write(target, None)
    return digest.hexdigest(), length


def _write(target: BinaryIO, block: bytes | None) -> None:
    """One more block, or at the end None: everything is on the disk then."""
    try:
        if block is not None:
            target.write(block)
        else:
            target.flush()
            os.fsync(target.fileno())
    except OSError as error:  # told apart from a failure of the source
        raise EnvironmentFault(
            f"the cache cannot be written ({reason(error)}); free some space or choose another "
            "cache_dir"
        ) from error


def _evict(folder: Path, limit: int, *, keep: Path) -> None:
    """Remove the least recently used files; a map that is still open stays readable."""
    found = []
    for path in folder.glob("????????????????-*"):
        with contextlib.suppress(FileNotFoundError):  # another job makes room, too
            if path.suffix != ".lock":
                found.append((path.stat().st_mtime, path.stat().st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= limit:
            return
        if path != keep:
            path.unlink(missing_ok=True)
            total -= size
