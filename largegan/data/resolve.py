"""What a data path means: folders, files, patterns and names, as a list of shards or indexes."""

import glob
import importlib.resources
import math
import re
from pathlib import Path

from largegan.data.index import INDEX_NAME
from largegan.data.remote import local_path, scheme_of
from largegan.data.tree import refuse_shards_below
from largegan.errors import ConfigError, DataError


def bundled(name: str) -> Path:
    """Index of a dataset that is part of the package; raises ConfigError."""
    folder = Path(str(importlib.resources.files("largegan.data") / "bundled"))
    if not (folder / f"{name}.json").is_file():
        known = sorted(p.stem for p in folder.glob("*.json"))
        raise ConfigError(f"there is no bundled:{name}; choose one of {', '.join(known)}")
    return folder / f"{name}.json"


def expand(path: str) -> list[str]:
    """Shards or index files behind one path, sorted where the file system has no order."""
    if path.startswith("bundled:"):
        return [str(bundled(path.removeprefix("bundled:")))]
    if path.startswith("pipe:"):
        return [path]
    names = _expand_braces(path)
    if scheme_of(path) not in ("", "file"):
        return names
    return [found for name in names for found in _expand_local(local_path(name), path)]


MOST_SHARDS = 1_000_000  # of one pattern


def _expand_braces(path: str) -> list[str]:
    from braceexpand import UnbalancedBracesError, braceexpand

    if _count_at_most(path) > MOST_SHARDS:
        raise ConfigError(f"the pattern {path} stands for too many shards; give fewer of them")
    try:
        return list(braceexpand(path))
    except UnbalancedBracesError as error:
        raise ConfigError(f"the pattern {path} has unbalanced braces; close them") from error


def _count_at_most(pattern: str) -> int:
    """How many names a pattern with braces stands for, or more where braces are nested."""
    inner = re.findall(r"\{([^{}]*)\}", pattern)
    outer = re.sub(r"\{[^{}]*\}", "", pattern)
    nested = outer.count(",") if "{" in outer else 0
    return math.prod(map(_choices, inner)) * 2**nested


def _choices(inside: str) -> int:
    """Of one pair of braces."""
    found = re.fullmatch(r"(-?\d{1,4000})\.\.(-?\d{1,4000})(?:\.\.-?\d{1,4000})?", inside)
    return abs(int(found[2]) - int(found[1])) + 1 if found else inside.count(",") + 1


def _expand_local(path: Path, pattern: str) -> list[str]:
    if path.is_dir():
        if (path / INDEX_NAME).is_file():
            return [str(path / INDEX_NAME)]
        shards = sorted(str(p) for p in path.glob("*.tar"))
        packed = sorted(p.name for p in path.iterdir() if p.name.endswith((".tar.gz", ".tgz")))
        if packed and not shards:
            raise DataError(
                f"the shards in {path} are compressed ({packed[0]}); gunzip them, images do not "
                "become smaller twice"
            )
        if not shards:
            refuse_shards_below(path)
            raise DataError(
                f"no shards were found in the folder {path}; it needs .tar files, which "
                "largegan pack makes from images"
            )
        return shards
    if path.is_file():
        if path.name.endswith((".tar.gz", ".tgz")):
            raise DataError(f"{path} is compressed; gunzip it, images do not become smaller twice")
        if path.suffix not in (".tar", ".json"):
            raise DataError(
                f"{path} is neither a .tar shard nor an index; pack it with largegan pack"
            )
        return [str(path)]
    matches = [match for match in sorted(glob.glob(str(path))) if match != str(path)]
    if not matches:
        broken = " (a link that leads nowhere)" if path.is_symlink() else ""
        raise DataError(f"no shards were found at {pattern}{broken}; check the path")
    return [shard for match in matches for shard in _expand_local(Path(match), match)]
