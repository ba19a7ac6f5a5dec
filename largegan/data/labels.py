"""Labels of images that are packed: from folders, dataset.json or labels.csv.

A label is a class: a whole number from 0 on, or a name. What is something else (fractions,
vectors, several per image) is refused and never cut down to a number.
"""

import csv
import io
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import msgspec

from largegan.data.account import Account
from largegan.errors import ConfigError, DataError
from largegan.files.documents import parse_document, text_of
from largegan.files.output import shown

LABEL_FILES = ("dataset.json", "labels.csv")
PATH_COLUMNS = ("path", "file", "filename", "file_name", "image", "name", "id")
CLASS_COLUMNS = ("label", "class", "category", "target", "cls")
PARTS = ("train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval")
LARGEST_CLASS = 1 << 20
REMEDY = "it holds pairs of file name and class"


class Labels(NamedTuple):
    """A class for every image, and the names of classes where they have some."""

    numbers: list[int] | None
    names: list[str]


class DatasetJson(msgspec.Struct):
    """NVIDIA's layout: {"labels": [[name, class], ...]}, null without labels; or {name: class}."""

    labels: list[tuple[str, Any]] | dict[str, Any] | None


def labels_of_folders(
    images: list[str], folders: list[str], source: object, *, forced: bool
) -> Labels:
    """The class is the first folder. A flat folder, or a single sub-folder, has no labels."""
    parts = [PurePosixPath(name).parts for name in images]
    classes = sorted({p[0] for p in parts if len(p) > 1})
    if not classes or (len(classes) == 1 and not forced):
        if forced:
            raise DataError(f"{source} has no sub-folders to take classes from; use --labels none")
        return Labels(None, [])
    if not forced:
        _ask_about_parts(classes, source)
    loose = next((name for name, p in zip(images, parts, strict=True) if len(p) == 1), None)
    if loose is not None:
        raise DataError(
            f"{shown(loose)} lies beside the class folders of {source}; move it into one, or use "
            "--labels none"
        )
    empty = [folder for folder in folders if folder not in classes]
    if empty:
        raise DataError(
            f"class folder {shown(empty[0])} of {source} holds no image; fill it, remove it, or "
            "use --labels none"
        )
    number = {name: i for i, name in enumerate(classes)}
    return Labels([number[p[0]] for p in parts], [shown(name, 255) for name in classes])


def _ask_about_parts(classes: list[str], source: object) -> None:
    """Folders that are called train and val are parts of a set, and no classes."""
    if all(name.lower() in PARTS for name in classes):
        raise ConfigError(
            f"{source} holds {' and '.join(classes)}, which look like the parts of a set and not "
            f"like classes; pack them one by one (SOURCE/{classes[0]}), or say --labels folder if "
            "they are classes"
        )


def labels_of_file(text: bytes, images: list[str], *, where: str, account: Account) -> Labels:
    """Labels from dataset.json or labels.csv. Raises DataError."""
    table = _read_json(text, where) if where.endswith(".json") else _read_csv(text, where)
    if table is None:
        return Labels(None, [])
    missing = next((name for name in images if plain(name) not in table), None)
    if missing is not None:
        raise DataError(f"{where} has no label for {shown(missing)}; add it or remove the image")
    lone = sorted(table.keys() - {plain(name) for name in images})
    account.leave(f"labels of {where}, whose files are not there", *lone)
    return numbered([table[plain(name)] for name in images], images, where=where)


def plain(name: str) -> str:
    """`.\\a\\b.png` -> `a/b.png`: one name for one file, whoever wrote it."""
    return PurePosixPath(name.replace("\\", "/")).as_posix()


def numbered(values: list[Any], images: list[str], *, where: str) -> Labels:
    """Classes of whatever a table holds. Raises DataError for what is no class."""
    for name, value in zip(images, values, strict=True):
        _refuse_no_class(value, f"{where} gives {shown(name)} the label {shown(value, 60)}")
    numbers = [whole(value) for value in values]
    if None not in numbers:
        return Labels(numbers, [])
    if any(isinstance(value, int | float) for value in values):
        odd = next(value for value in values if not isinstance(value, int | float))
        raise DataError(
            f"{where} has numbers and names ({shown(odd, 60)}) as labels; use one of them"
        )
    names = sorted({str(value) for value in values})
    number = {name: i for i, name in enumerate(names)}
    return Labels([number[str(value)] for value in values], [shown(n, 255) for n in names])


def _refuse_no_class(value: Any, sentence: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | str) or value == "":
        raise DataError(
            f"{sentence}, which is no class; give every image one whole number or one name"
        )
    if whole(value) is None and _is_number(value):
        raise DataError(
            f"{sentence}, which is no class; classes are whole numbers from 0 on, or names"
        )


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (ValueError, OverflowError):
        return False
    return True


def whole(value: Any) -> int | None:
    """3, 3.0, "3" and "3.0" -> 3; None for what is no whole number from 0 on."""
    try:
        number = value if isinstance(value, int) else float(value)
    except (ValueError, OverflowError):
        return None
    if not 0 <= number < 1 << 53 or number != int(number):
        return None
    return int(number)


def check_classes(numbers: list[int], names: list[str], *, where: object) -> None:
    """Refuses numbers that are names of classes rather than counted ones. Raises DataError."""
    used, classes = len(set(numbers)), max(numbers) + 1
    if classes - used > 100 + 9 * used and len(names) < classes:
        raise DataError(
            f"the labels of {where} go up to {max(numbers)}, but there are {used} different ones; "
            "renumber them with --compact-labels"
        )
    if classes > LARGEST_CLASS:
        raise DataError(f"{where} has {classes} classes, more than {LARGEST_CLASS}")


def _read_json(text: bytes, where: str) -> dict[str, Any] | None:
    document = parse_document(text, DatasetJson, where=where, what="cannot be read", remedy=REMEDY)
    if document.labels is None:
        return None
    pairs = document.labels.items() if isinstance(document.labels, dict) else document.labels
    return _one_each(list(pairs), where)


def _read_csv(text: bytes, where: str) -> dict[str, Any]:
    try:
        rows = [row for row in csv.reader(io.StringIO(text_of(text), newline="")) if row]
    except csv.Error as fault:
        raise DataError(f"{where} cannot be read ({fault}); {REMEDY}") from fault
    path, label = _columns(rows[0]) if rows else (0, 1)
    if (path, label) != (0, 1) or (rows and _is_heading(rows[0])):
        rows = rows[1:]
    elif any(len(row) != 2 for row in rows):
        odd = next(row for row in rows if len(row) != 2)
        raise DataError(
            f"{where} has a row of {len(odd)} columns ({shown(','.join(odd), 60)}); give two, the "
            "file and its class, or a first row that calls them path and label"
        )
    short = next((row for row in rows if len(row) <= max(path, label)), None)
    if short is not None:
        raise DataError(f"{where} has a short row ({shown(','.join(short), 60)}); {REMEDY}")
    return _one_each([(row[path].strip(), row[label].strip()) for row in rows], where)


def _columns(heading: list[str]) -> tuple[int, int]:
    """Which columns are the file and its class; the first two where no heading says so."""
    words = [word.strip().lower() for word in heading]
    path = next((i for i, word in enumerate(words) if word in PATH_COLUMNS), None)
    label = next((i for i, word in enumerate(words) if word in CLASS_COLUMNS), None)
    return (0, 1) if path is None or label is None else (path, label)


def _is_heading(row: list[str]) -> bool:
    """No file has such a name, or the row calls its columns by name."""
    words = [word.strip().lower() for word in row]
    return words[0] in PATH_COLUMNS or not PurePosixPath(words[0]).suffix


def _one_each(pairs: list[tuple[str, Any]], where: str) -> dict[str, Any]:
    """A table of names; two labels of one image are refused."""
    table: dict[str, Any] = {}
    for name, value in pairs:
        key = plain(name)
        if key in table and table[key] != value:
            raise DataError(
                f"{where} gives {shown(name)} two labels, {shown(table[key], 40)} and "
                f"{shown(value, 40)}; an image has one class"
            )
        table[key] = value
    return table
