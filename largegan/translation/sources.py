"""Where images come from: a folder, a list of files, a zip, tar shards or one file; by name."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from largegan.data.decode import IMAGE_EXTENSIONS
from largegan.data.originals import IGNORED
from largegan.data.remote import local_path, scheme_of
from largegan.data.resolve import expand
from largegan.data.tar import TarDamage, walk
from largegan.errors import ConfigError, DataError


@dataclass(frozen=True)
class Item:
    """One image: its name is its place below IN, and that of its translation below OUT."""

    name: str  # with forward slashes
    bytes: int
    read: Callable[[], bytes]
    path: Path | None = None  # of a plain file


def find_items(source: str, *, out: Path | None = None) -> list[Item]:
    """The images behind IN, sorted by name. What lies below `out` is not among them.

    Raises ConfigError where nothing is, DataError where nothing can be read.
    """
    path = Path(source)
    if path.is_dir():
        items = _from_folder(path, out)
        if not items and any(path.glob("*.tar")):
            items = _from_shards(source)
    elif path.suffix == ".zip" and path.is_file():
        items = _from_zip(path)
    elif path.suffix in (".txt", ".lst") and path.is_file():
        items = _from_list(path)
    elif path.is_file() and path.suffix not in (".tar", ".json"):
        items = [_of_file(path, path.name)]
    elif path.suffix in (".tar", ".json") or any(c in source for c in "{*?["):
        items = _from_shards(source)
    else:
        raise ConfigError(
            f"{source} does not exist; give a folder, an image, a .txt list of images, a .zip or "
            "tar shards"
        )
    if not items:
        raise DataError(
            f"{source} holds no image; images end in {', '.join(sorted(IMAGE_EXTENSIONS))}"
        )
    return sorted(items, key=lambda item: item.name)


def is_image(name: str) -> bool:
    """By its ending; files hidden or left behind by a Mac are none."""
    place = PurePosixPath(name)
    if any(part.startswith(IGNORED) and part != ".." for part in place.parts):
        return False
    return place.suffix[1:].lower() in IMAGE_EXTENSIONS


def _of_file(path: Path, name: str) -> Item:
    return Item(name, path.stat().st_size, path.read_bytes, path)


def _from_folder(folder: Path, out: Path | None) -> list[Item]:
    items, away = [], out and out.resolve()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if is_image(name) and path.is_file() and away not in path.resolve().parents:
            items.append(_of_file(path, name))
    return items


def _from_list(listing: Path) -> list[Item]:
    """A path a line, relative to the list or to the working directory; # begins a comment."""
    lines = [line.strip() for line in listing.read_text().splitlines()]
    given = [Path(line) for line in lines if line and not line.startswith("#")]
    found = []
    for path in given:
        beside = listing.parent / path
        if not beside.is_file() and not path.is_file():
            raise DataError(f"{listing} names {path}, which does not exist; correct the list")
        found.append((beside if beside.is_file() else path).resolve())
    names = [path.as_posix() for path in given]
    if any(path.is_absolute() or ".." in path.parts for path in given):
        names = _below_common_folder(found)
    return [_of_file(path, name) for path, name in zip(found, names, strict=True)]


def _below_common_folder(paths: list[Path]) -> list[str]:
    common = paths[0].parent
    while not all(path.is_relative_to(common) for path in paths):
        common = common.parent
    return [path.relative_to(common).as_posix() for path in paths]


def _from_zip(path: Path) -> list[Item]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} cannot be read as a zip ({error}); fetch it again") from error
    entries = [entry for entry in archive.infolist() if is_image(entry.filename)]
    for entry in entries:
        _refuse_escape(entry.filename, path)
    return [Item(e.filename, e.file_size, _Member(archive, e.filename)) for e in entries]


@dataclass(frozen=True)
class _Member:
    archive: zipfile.ZipFile
    name: str

    def __call__(self) -> bytes:
        try:
            return self.archive.read(self.name)
        except (zipfile.BadZipFile, zipfile.zlib.error, RuntimeError) as error:
            raise OSError(f"is damaged in the zip ({error})") from error


def _from_shards(source: str) -> list[Item]:
    """SHARD/MEMBER for every image of every shard."""
    items = []
    for shard in _shards(source):
        try:
            with shard.open("rb") as file:
                length = shard.stat().st_size
                members = list(walk(file, want=lambda _: False, length=length))
        except TarDamage as damage:
            raise DataError(
                f"{shard} is damaged after {damage.member or 'its start'}: {damage}; fetch it again"
            ) from damage
        for member in members:
            if is_image(member.name):
                _refuse_escape(member.name, shard)
                name = f"{shard.stem}/{member.name}"
                items.append(Item(name, member.size, _Slice(shard, member.offset, member.size)))
    return items


def _shards(source: str) -> list[Path]:
    if scheme_of(source) not in ("", "file"):
        raise ConfigError(f"{source} is remote; fetch the shards first")
    found = []
    for place in expand(source):
        path = local_path(place)
        # An index names the shards beside it.
        found += sorted(path.parent.glob("*.tar")) if path.suffix == ".json" else [path]
    return found


@dataclass(frozen=True)
class _Slice:
    shard: Path
    offset: int
    size: int

    def __call__(self) -> bytes:
        with self.shard.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


def _refuse_escape(name: str, archive: Path) -> None:
    """An archive must not name files outside of OUT."""
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts:
        raise DataError(f"{archive} holds {name}, which would be written outside of OUT; repack it")
