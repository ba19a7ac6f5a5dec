"""Where images come from: a folder, a list of files, a zip, tar shards or one file; by name."""

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from largegan.data.account import Account
from largegan.data.decode import IMAGE_EXTENSIONS
from largegan.data.remote import local_path, scheme_of
from largegan.data.resolve import expand
from largegan.data.scan import opened
from largegan.data.tar import TarDamage, walk
from largegan.data.tree import files_below, images_among
from largegan.errors import ConfigError, DataError, shown
from largegan.files.archives import open_zip, read_member, refuse_locked
from largegan.files.documents import LARGEST, read_bounded, text_of
from largegan.translation import manifest


@dataclass(frozen=True)
class Item:
    """One image: its name is its place below IN, and that of its translation below OUT."""

    name: str  # with forward slashes
    bytes: int
    read: Callable[[], bytes]
    path: Path | None = None  # of a plain file


def find_items(source: str, *, account: Account | None = None) -> list[Item]:
    """The images behind IN, sorted by name; `account` takes what is left out.

    Raises ConfigError where nothing is, DataError where nothing can be read.
    """
    path, account = Path(os.path.expanduser(source)), account or Account()
    ending = path.suffix.lower()
    if path.is_dir():
        items = _from_folder(path, account)
        if not items and any(path.glob("*.tar")):
            items = _from_shards(source, account)
    elif ending == ".zip" and path.is_file():
        items = _from_zip(path, account)
    elif ending in (".txt", ".lst") and path.is_file():
        items = _from_list(path)
    elif path.is_file() and ending not in (".tar", ".json"):
        items = [_of_file(path, path.name)]
    elif ending in (".tar", ".json") or any(c in source for c in "{*?["):
        items = _from_shards(source, account)
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


def _of_file(path: Path, name: str) -> Item:
    return Item(name, path.stat().st_size, path.read_bytes, path)


def _from_folder(folder: Path, account: Account) -> list[Item]:
    names = files_below(folder, account)
    images = images_among(names, account, used=(manifest.NAME,))  # what translate wrote
    return [_of_file(folder / name, name) for name in images]


def _from_list(listing: Path) -> list[Item]:
    """A path a line, relative to the list or to the working directory; # begins a comment."""
    text = text_of(read_bounded(listing, LARGEST, "split the list"))
    lines = [line.strip() for line in text.splitlines()]
    if "\0" in text:
        raise DataError(f"{listing} is no list: it holds bytes of 0; give a path a line")
    given = [Path(os.path.expanduser(line)) for line in lines if line and not line.startswith("#")]
    found = []
    for path in given:
        beside = listing.parent / path
        there = beside if is_there(beside) else path
        if not is_there(there):
            raise DataError(
                f"{listing} names {shown(path)}, which does not exist; correct the list"
            )
        found.append(there.resolve())
    names = [path.as_posix() for path in given]
    if any(path.is_absolute() or ".." in path.parts for path in given):
        names = _below_common_folder(found)
    return [_of_file(path, name) for path, name in zip(found, names, strict=True)]


def is_there(path: Path) -> bool:
    """Whether a file is; one of an impossible name is not."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _below_common_folder(paths: list[Path]) -> list[str]:
    common = paths[0].parent
    while not all(path.is_relative_to(common) for path in paths):
        common = common.parent
    return [path.relative_to(common).as_posix() for path in paths]


def _from_zip(path: Path, account: Account) -> list[Item]:
    archive = open_zip(path)
    files = {e.filename: e for e in archive.infolist() if not e.is_dir()}
    entries = [files[name] for name in images_among(list(files), account)]
    refuse_locked(path, entries)
    for entry in entries:
        _refuse_escape(entry.filename, path)
    return [Item(e.filename, e.file_size, _Member(archive, e.filename)) for e in entries]


@dataclass(frozen=True)
class _Member:
    archive: zipfile.ZipFile
    name: str

    def __call__(self) -> bytes:
        return read_member(self.archive, self.name)


def _from_shards(source: str, account: Account) -> list[Item]:
    """SHARD/MEMBER for every image of every shard."""
    items = []
    for shard in _shards(source):
        try:
            with opened(shard) as file:
                length = shard.stat().st_size
                walked = walk(file, want=lambda _: False, length=length, leave=account.leave)
                members = {member.name: member for member in walked}
        except TarDamage as damage:
            raise DataError(
                f"{shown(shard)} is damaged after {shown(damage.member) or 'its start'}: {damage}; "
                "fetch it again"
            ) from damage
        for member in map(members.get, images_among(list(members), account)):
            _refuse_escape(member.name, shard)
            name = f"{_folder_of(shard)}/{member.name}"
            items.append(Item(name, member.size, _Slice(shard, member.offset, member.size)))
    return items


def _folder_of(shard: Path) -> str:
    """The name of a shard without its ending; without dots where those would lead elsewhere."""
    return shard.stem.strip(".") or "shard"


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
    if place.is_absolute() or ".." in place.parts or "\0" in name:
        raise DataError(f"{shown(archive)} holds {shown(name)}, which is outside of OUT; repack it")
