"""Files below a folder: links are followed, never in circles; nothing is passed over unsaid."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from largegan.data.account import Account, examples
from largegan.data.decode import IMAGE_EXTENSIONS
from largegan.errors import DataError, reason, shown

IGNORED = ("__MACOSX", ".")  # what archives of a Mac carry, and hidden files


def is_image(name: str, kinds: tuple[str, ...] = IMAGE_EXTENSIONS) -> bool:
    """By its ending; files hidden or left behind by a Mac are none."""
    return not is_hidden(name) and PurePosixPath(name).suffix[1:].lower() in kinds


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder above it, is hidden or left behind by a Mac."""
    return any(part.startswith(IGNORED) and part != ".." for part in PurePosixPath(name).parts)


def files_below(root: Path, account: Account) -> list[str]:
    """Names of all files below a folder, sorted, with forward slashes. Raises DataError.

    A link to a folder is followed where it leads out of `root`; where it leads back into it, its
    files are read under their own names.
    """
    try:
        return sorted(_walk(root, "", [_identity(root)], root.resolve(), account))
    except OSError as fault:
        raise DataError(
            f"{shown(fault.filename or root)} cannot be read ({reason(fault)}); check its "
            "permissions"
        ) from fault


def _identity(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_dev, facts.st_ino


def _walk(
    folder: Path, prefix: str, above: list[tuple[int, int]], root: Path, account: Account
) -> Iterator[str]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        name, path = f"{prefix}{entry.name}", Path(entry.path)
        if entry.is_dir():
            known = _identity(path)
            if entry.is_symlink() and (known in above or path.resolve().is_relative_to(root)):
                account.leave("links to folders that are read under their own names", name)
                continue
            if len(above) > 100:
                account.leave("folders more than 100 deep", name)
                continue
            yield from _walk(path, f"{name}/", [*above, known], root, account)
        elif entry.is_file():
            yield name
        elif entry.is_symlink():
            account.leave("links that lead nowhere", name)
        else:
            account.leave("devices, pipes or sockets", name)


def images_among(
    names: list[str],
    account: Account,
    *,
    used: tuple[str, ...] = (),
    kinds: tuple[str, ...] = IMAGE_EXTENSIONS,
) -> list[str]:
    """The images of some files; the others go into the account, but for those `used` otherwise."""
    images = []
    for name in names:
        if is_image(name, kinds):
            images.append(name)
        elif name in used:
            continue
        elif is_hidden(name):
            account.leave("hidden files, or a Mac's", name)
        else:
            ending = PurePosixPath(name).suffix
            what = f"files that end in {ending.lower()}" if ending else "files without an ending"
            account.leave(f"{what}, which are not known as images", name)
    return images


def refuse_shards_below(folder: Path) -> None:
    """Raises DataError for a folder without shards whose sub-folders hold some."""
    found = sorted(p.name for p in folder.iterdir() if p.is_dir() and any(p.glob("*.tar")))
    if found:
        raise DataError(
            f"{shown(folder)} holds its shards in sub-folders ({examples(found)}); give one of "
            f"them, or train on all of them with --data.path '{shown(folder)}/*/*.tar'"
        )
