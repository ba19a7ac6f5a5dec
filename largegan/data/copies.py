"""What the cache keeps of people's images: packed and decoded copies, features of killed scores."""

import contextlib
import json
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from largegan.data.decoded import DECODED
from largegan.data.index import INDEX_NAME
from largegan.data.index_files import parse_index
from largegan.errors import DataError
from largegan.files.output import MARK, faults

PACKED = "packed"  # a folder of the cache
STATISTICS, UNFINISHED = "statistics", ".unfinished"  # another, and folders in it
DAY_S = 86400


@dataclass(frozen=True)
class Copy:
    """One copy: a folder of shards or a file of pixels; `used` are days since it was opened."""

    path: Path
    bytes: int
    images: int | None
    used: float
    sources: tuple[str, ...] = ()


def copies_in(folder: Path) -> list[Copy]:
    """All copies, those used last first; of `sources` only what was written down."""
    sources = defaultdict(set)
    for known in (folder / PACKED).glob("*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(known.read_text())
            sources[content["copy"]].add(content["source"])
    found = [_packed(path.parent, sources) for path in (folder / PACKED).glob(f"*/{INDEX_NAME}")]
    found += [_alone(path) for path in (folder / DECODED).glob("*.bin")]
    found += [_alone(path) for path in (folder / PACKED).glob(f".{MARK}-*")]  # of a killed process
    found += [_score(path) for path in (folder / STATISTICS).glob(f"*{UNFINISHED}")]
    return sorted(found, key=lambda copy: copy.used)


def _packed(path: Path, sources: dict[str, set[str]]) -> Copy:
    images = None
    with contextlib.suppress(OSError, DataError):
        index = parse_index((path / INDEX_NAME).read_bytes(), where=str(path))
        images = sum(shard.count for shard in index.shards)
    known = tuple(sorted(sources[path.name]))
    return Copy(path, _size(path), images, _days_since(path / INDEX_NAME), known)


def _score(path: Path) -> Copy:
    """Features of the images that a score had seen when it was killed; the next one goes on."""
    spans = [file.stem.split("-") for file in path.glob("*.safetensors")]
    images = sum(int(b) - int(a) for a, b in (s for s in spans if all(map(str.isdecimal, s))))
    used = min(map(_days_since, (path, *path.glob("*"))))
    return Copy(path, _size(path), images, used, ("a score that is not finished",))


def _alone(path: Path) -> Copy:
    return Copy(path, _size(path), None, _days_since(path))


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_blocks * 512 for file in files if file.is_file())


def _days_since(path: Path) -> float:
    return max(0.0, time.time() - path.stat().st_mtime) / DAY_S


def remove(folder: Path, *, unused_days: float) -> Iterator[Copy]:
    """Removes the copies that were not opened for so long, and gives each. Raises EnvironmentFault.

    A run that wants one of them packs it again when it starts.
    """
    for copy in copies_in(folder):
        if copy.used >= unused_days:
            with faults(copy.path, "check its permissions"):
                _remove(copy.path)
            yield copy


def _remove(path: Path) -> None:
    if path.is_dir():
        (path / INDEX_NAME).unlink(missing_ok=True)  # first: what is left is no copy then
        shutil.rmtree(path)
    else:
        path.unlink()
