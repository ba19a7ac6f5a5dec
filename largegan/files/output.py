"""The door out: whatever a tool writes goes through here, after `claims` has said that it may.

A file appears under its name when it is complete, by a rename; what is unfinished has a name that
nobody could have chosen, and goes away when the work fails or is stopped.
"""

import contextlib
import errno
import json
import math
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from largegan.errors import EnvironmentFault, reason, shown

MARK = "largegan"  # files that tools make say who made them, within their first bytes
MARK_WITHIN = 1 << 16  # bytes
ROOM = "choose a writable place with free space"
_UNFINISHED: set[Path] = set()


def made_here(path: Path) -> bool:
    """Whether a file says that this program made it; see `MARK`."""
    try:
        with path.open("rb") as file:
            return MARK.encode() in file.read(MARK_WITHIN)
    except OSError:
        return False


@contextlib.contextmanager
def writing(path: Path, *, ending: str | None = None, remedy: str = ROOM) -> Iterator[Path]:
    """A partial file that becomes `path` when the block ends well, else nothing is left.

    `ending` is that of the partial's name, for libraries that go by it. Folders above `path` are
    made. Raises EnvironmentFault for what the disk refuses.
    """
    with faults(path, remedy), _folders_above(path):
        partial = reserve(path, path.suffix if ending is None else ending)
        try:
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            yield partial
            os.replace(partial, path)
        finally:
            release(partial)


def reserve(path: Path, ending: str = "") -> Path:
    """The name of a partial file beside `path`, which `release` removes."""
    partial = path.with_name(partial_name(ending))
    _UNFINISHED.add(partial)
    return partial


def release(partial: Path) -> None:
    """Removes a partial file, if it is there."""
    partial.unlink(missing_ok=True)
    _UNFINISHED.discard(partial)


def write_bytes(path: Path, data: bytes) -> None:
    """A complete file or none. Raises EnvironmentFault."""
    with writing(path) as partial:
        partial.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """A complete UTF-8 file that survives a power cut, or none. Raises EnvironmentFault."""
    with writing(path) as partial, partial.open("wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
        file.flush()
        os.fsync(file.fileno())


def as_json(values: object) -> str:
    """Plain values as JSON that every program reads: infinity and nan become null."""
    return json.dumps(_finite(values), indent=1, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextlib.contextmanager
def new_folder(path: Path, *, over: bool = False) -> Iterator[Path]:
    """A partial folder that becomes the new (or empty) folder `path` when the block ends well.

    With `over` it takes the place of one of ours, whose files go.

    Where `path` is a link to an empty folder, that one is filled and the link stays. Raises
    EnvironmentFault for what the disk refuses.
    """
    target = path.resolve() if path.is_symlink() else path
    with faults(path), _folders_above(target):
        partial = target.with_name(partial_name(""))
        _UNFINISHED.add(partial)
        try:
            partial.mkdir()
            yield partial
            if over:
                _exchange(partial, target)
            else:
                _into_place(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            _UNFINISHED.discard(partial)


def _into_place(new: Path, target: Path) -> None:
    """`new` gets its name, unless a folder of that name has been filled since it was claimed."""
    try:
        os.replace(new, target)
    except OSError as fault:
        if fault.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise EnvironmentFault(
            f"{shown(target)} was filled by another program meanwhile; choose another OUT"
        ) from fault


def _exchange(new: Path, old: Path) -> None:
    """`new` takes the place of the folder `old`, which goes; or, where it cannot, nothing does."""
    away = old.with_name(partial_name())
    os.rename(old, away)
    try:
        os.rename(new, old)
    except OSError:
        os.rename(away, old)
        raise
    shutil.rmtree(away, ignore_errors=True)


@contextlib.contextmanager
def _folders_above(path: Path) -> Iterator[None]:
    """Makes the folders above a path, and takes them away again if the block fails."""
    missing = [folder for folder in path.parents if not folder.exists()]
    made: list[Path] = []
    try:
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            made.append(folder)
        yield
    except BaseException:
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def partial_name(ending: str = "") -> str:
    """A short name that is nobody's."""
    return f".{MARK}-{secrets.token_hex(8)}{ending}"


@contextlib.contextmanager
def faults(path: Path, remedy: str = ROOM) -> Iterator[None]:
    """What the operating system refuses becomes an EnvironmentFault about `path`."""
    from safetensors import SafetensorError  # its writer wraps the system's error in its own

    try:
        yield
    except OSError as fault:
        raise EnvironmentFault(f"cannot write {shown(path)}: {reason(fault)}; {remedy}") from fault
    except SafetensorError as fault:
        raise EnvironmentFault(f"cannot write {shown(path)}: {fault}; {remedy}") from fault


def clean_up() -> None:
    """Removes what is unfinished: for a program that is about to end."""
    for path in list(_UNFINISHED):
        with contextlib.suppress(OSError):
            if stat.S_ISDIR(path.lstat().st_mode):
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        _UNFINISHED.discard(path)
