"""What a tool may write, said before the work.

`Outputs` refuses what could not be written after it, and what would harm files of the user; how a
file is then written is in `output`.
"""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from largegan.errors import ConfigError, EnvironmentFault
from largegan.files.output import faults, made_here, partial_name

LONGEST_NAME = 255  # bytes, of every file system in use
LEAST_ROOM = 1 << 20  # bytes that have to be free before anything begins


class Outputs:
    """What one start of a tool may write.

    Args:
        inputs: files and folders that it reads; nothing is written over or into them.
        overwrite: whether a file that is named on the command line may be replaced, and files of
            an earlier start of the same kind inside a folder that is.
    """

    def __init__(self, inputs: Iterable[str | Path | None] = (), *, overwrite: bool = False):
        self.inputs = [place_of(path) for path in inputs if path]
        self.overwrite = overwrite
        self.claimed: dict[Path, str] = {}

    def file(self, path: Path, what: str = "OUT", *, again: bool = False) -> Path:
        """Claims the file that the command line calls `what`. Raises ConfigError, EnvironmentFault.

        It may be there only with `overwrite`, or with `again` if this program made it; and it is
        never a part of what is read.
        """
        check_length(path)
        self._refuse_input(path, what)
        if path.is_dir() and not path.is_symlink():
            raise ConfigError(f"{what} is {path}, which is a folder; give the name of a file")
        _refuse_broken(path, what)
        if path.exists() and not self.overwrite and not (again and made_here(path)):
            raise ConfigError(
                f"{path} exists; choose another {what} or give --overwrite to replace it"
            )
        if path.exists() and not path.is_file():
            raise ConfigError(f"{what} is {path}, which is no file; choose another name")
        check_writable(path)
        place = path.parent.resolve() / path.name
        if place in self.claimed:
            raise ConfigError(
                f"{what} and {self.claimed[place]} are both {path}; give each a name of its own"
            )
        self.claimed[place] = what
        return path

    def folder(self, path: Path, what: str = "OUT", *, apart: bool = False) -> Path:
        """Claims a folder, which may hold other things. Raises ConfigError, EnvironmentFault.

        With `apart` it may not lie below what is read either.
        """
        check_length(path)
        _refuse_broken(path, what)
        if path.exists() and not path.is_dir():
            raise ConfigError(f"{what} is {path}, which is a file; give the name of a folder")
        for source in self.inputs:
            if _same(path, source):
                raise ConfigError(
                    f"{what} and what is read are both {path}; give a folder of its own"
                )
            if apart and source.is_dir() and _lies_in(path, source):
                raise ConfigError(f"{what} is {path}, which lies in {source}; choose another place")
        check_folder(path)
        return path

    def inside(self, folder: Path, names: Iterable[str]) -> None:
        """Claims files of a folder, by their names below it. Raises ConfigError.

        None may lead out of the folder, nor be there, unless this program made it and `overwrite`.
        """
        names = list(names)
        keep_inside(folder, names)
        taken = [folder / name for name in names if os.path.lexists(folder / name)]
        if taken and not self.overwrite:
            more = f" (and {len(taken) - 1} more)" if len(taken) > 1 else ""
            raise ConfigError(
                f"{taken[0]}{more} exists; choose another OUT or give --overwrite to replace it"
            )
        for path in taken:
            self._refuse_input(path, "OUT")
            if not made_here(path):
                raise ConfigError(
                    f"{path} was not made by largegan, so it is not replaced; move it away or "
                    "choose another OUT"
                )
            self.claimed[path.parent.resolve() / path.name] = "a file of OUT"

    def _refuse_input(self, path: Path, what: str) -> None:
        for source in self.inputs:
            if _same(path, source):
                raise ConfigError(f"{what} is {path}, which is read; choose another name")
            if source.is_dir() and (_lies_in(path, source) or _leads_into(path, source)):
                raise ConfigError(
                    f"{what} is {path}, which lies in {source}, from which is read; choose a place "
                    "outside of it"
                )

    def protect(self, files: Iterable[Path]) -> None:
        """Refuses what was claimed if it is one of these files, by whatever link."""
        places = {place: what for place, what in self.claimed.items() if place.exists()}
        known = {_identity(place): what for place, what in places.items()}
        for path in files if known else ():
            with contextlib.suppress(OSError):
                if _identity(path) in known:
                    what = known[_identity(path)]
                    raise ConfigError(f"{what} is {path}, which is read; choose another name")


def place_of(source: str | Path) -> Path:
    """The file or folder behind what a person types: without [START:STOP:STEP], ~ expanded."""
    path = Path(source)
    if isinstance(source, str) and not path.exists():
        path = Path(re.sub(r"\[[^\]]*\]$", "", source))
    return Path(os.path.expanduser(path))


def keep_inside(folder: Path, names: Iterable[str]) -> None:
    """Refuses names, and links, that lead out of a folder. Raises ConfigError."""
    names, parents = list(names), set()
    for name in names:
        check_name(name)
        parents.add((folder / name).parent)
    both = parents & {folder / name for name in names}
    if both:
        raise ConfigError(f"{min(both)} would be a file and a folder at once; rename one of them")
    real = folder.resolve()
    for parent in parents:
        if not parent.resolve().is_relative_to(real):
            raise ConfigError(
                f"{parent} leads out of {folder}; remove that link or choose another OUT"
            )


def _refuse_broken(path: Path, what: str) -> None:
    if path.is_symlink() and not path.exists():
        raise EnvironmentFault(
            f"{what} is {path}, a link to {os.readlink(path)}, which is not there; mount or remove "
            "it"
        )


def _identity(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_dev, facts.st_ino


def _same(path: Path, other: Path) -> bool:
    try:
        return path.resolve() == other.resolve() or os.path.samefile(path, other)
    except (OSError, RuntimeError, ValueError):
        return False


def _lies_in(path: Path, folder: Path) -> bool:
    return (path.parent.resolve() / path.name).is_relative_to(folder.resolve())


def _leads_into(path: Path, folder: Path) -> bool:
    """Whether a link's target lies in a folder."""
    return path.is_symlink() and path.resolve().is_relative_to(folder.resolve())


def check_name(name: str) -> None:
    """Refuses a name that would lead out of its folder. Raises ConfigError."""
    parts = PurePosixPath(name).parts
    if not parts or PurePosixPath(name).is_absolute() or ".." in parts or "\0" in name:
        raise ConfigError(f"{name!r} would be written outside of OUT; rename it")


def check_folder(path: Path) -> None:
    """Finds out whether files could be written into a folder. Raises EnvironmentFault."""
    check_writable(path / "x", about=path)


def check_writable(path: Path, *, about: Path | None = None) -> None:
    """Finds out whether a file of this name could be written. Raises EnvironmentFault.

    The sentence is about `path`, or what is given.

    Looks at the nearest folder that exists: that it is one, takes files and has room.
    """
    with faults(about or path):
        folder = nearest_folder(path)
        probe = folder / partial_name()
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        probe.unlink()
        if shutil.disk_usage(folder).free < LEAST_ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def check_length(path: Path) -> None:
    """Refuses a name that no file system takes. Raises EnvironmentFault."""
    with faults(path):
        if any(len(os.fsencode(part)) > LONGEST_NAME for part in path.parts):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def nearest_folder(path: Path) -> Path:
    """The closest folder above a path that exists. Raises OSError where a file is in the way."""
    for folder in path.parents:
        if folder.is_dir():
            return folder
        if os.path.lexists(folder):
            code = errno.ENOENT if folder.is_symlink() else errno.ENOTDIR
            raise OSError(code, os.strerror(code), str(folder))
    return Path.cwd()


def claim_new_folder(path: Path) -> None:
    """Refuses a folder that holds something, or cannot be made. Raises UserError."""
    check_length(path)
    _refuse_broken(path, "OUT")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f"{path} exists already; remove it or choose another output folder")
    check_folder(path.resolve())
