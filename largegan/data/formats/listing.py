"""A table of paths and labels: CSV with commas, semicolons or tabs, with or without a heading.

Paths are absolute, or begin in the folder of the table.
"""

from pathlib import Path

from largegan.data.account import Account
from largegan.data.decode import IMAGE_EXTENSIONS
from largegan.data.label_files import plain
from largegan.data.originals import Originals, Request, classes_of
from largegan.data.tables import read_table
from largegan.errors import DataError, shown
from largegan.files.archives import LARGEST_MEMBER
from largegan.files.documents import read_bounded

ENDINGS = (".csv", ".tsv", ".txt", ".lst")
LARGEST = 1 << 30  # bytes


def recognizes(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in ENDINGS


def read(source: Path, request: Request) -> Originals:
    """The files that a table lists, each once, with its class. Raises DataError."""
    where, account = shown(source), Account()
    text = read_bounded(source, LARGEST, "make it smaller")
    labels: dict[str, str | None] = {}
    for name, label in read_table(text, where, field=request.field):
        key = plain(name)
        if key in labels:
            account.leave("rows of images that are listed before", name)
        if labels.setdefault(key, label) != label:
            raise DataError(
                f"{where} gives {shown(name)} two labels, {shown(labels[key], 40)} and "
                f"{shown(label, 40)}; an image has one class"
            )
    if not labels:
        raise DataError(f"{where} lists no image; a row is the path of one and its class")
    names, folder = list(labels), source.parent
    classes = classes_of(list(labels.values()), names, request, where=where)

    def load(i: int) -> bytes:
        try:
            return read_bounded(_found(folder, names[i]), LARGEST_MEMBER, "leave it out")
        except FileNotFoundError as fault:
            raise DataError(
                f"{where} lists {shown(names[i])}, which is not there; paths are absolute or begin "
                "in the folder of the table"
            ) from fault

    return Originals(names, load, account=account).labeled(classes)


def _found(folder: Path, name: str) -> Path:
    """The file of a name, which may be an id without its ending."""
    path = folder / name
    if path.suffix or path.is_file():
        return path
    endings = (path.with_name(f"{path.name}.{ending}") for ending in IMAGE_EXTENSIONS)
    return next((candidate for candidate in endings if candidate.is_file()), path)
