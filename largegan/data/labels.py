"""Labels of images that are packed: from folders, dataset.json or labels.csv.

A label is a class: a whole number from 0 on, or a name. What is something else (fractions,
vectors, several per image) is refused and never cut down to a number.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import msgspec

from largegan.data.account import Account
from largegan.data.parts import DOMAINS, part_of
from largegan.data.tables import REMEDY, read_table
from largegan.errors import ConfigError, DataError
from largegan.files.documents import parse_document
from largegan.files.output import shown

LABEL_FILES = ("dataset.json", "labels.csv")
LARGEST_CLASS = 1 << 20
VECTORS = "--label-vectors (data.label_vectors), if labels are numbers"


class Labels(NamedTuple):
    """A class for every image, and the names of classes where they have some."""

    numbers: list[int] | None
    names: list[str]
    vectors: list[tuple[float, ...]] | None = None  # what the numbers stand for, unless classes


class DatasetJson(msgspec.Struct):
    """NVIDIA's layout: {"labels": [[name, class], ...]}, null without labels; or {name: class}."""

    labels: list[tuple[str | int, Any]] | dict[str, Any] | None


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
    if set(classes) <= {name for names, part in DOMAINS.items() if part for name in names}:
        raise ConfigError(
            f"{source} holds {' and '.join(classes)}, which are two domains for translation and no "
            "classes; unpack it and give the folder, or say --labels folder if they are classes"
        )
    if all(part_of(name) for name in classes):
        raise ConfigError(
            f"{source} holds {' and '.join(classes)}, which look like the parts of a set and not "
            f"like classes; choose one with --split {part_of(classes[0])} (data.split), pack them "
            f"one by one (SOURCE/{classes[0]}), or say --labels folder if they are classes"
        )


def labels_of_file(
    text: bytes,
    images: list[str],
    *,
    where: str,
    account: Account,
    field: str | None = None,
    vectors: bool = False,
) -> Labels:
    """Labels from dataset.json or labels.csv. Raises DataError."""
    if where.endswith(".json"):
        table = _read_json(text, where)
    else:
        table = _one_each(read_table(text, where, field=field), where)
    if table is None:
        return Labels(None, [])
    keys = _matched(images, table)
    missing = next((name for name, key in zip(images, keys, strict=True) if key is None), None)
    if missing is not None:
        raise DataError(f"{where} has no label for {shown(missing)}; add it or remove the image")
    account.leave(
        f"labels of {where}, whose files are not there", *sorted(table.keys() - set(keys))
    )
    values = [table[key] for key in keys]
    return (vectors_of if vectors else numbered)(values, images, where=where)


def _matched(images: list[str], table: dict[str, Any]) -> list[str | None]:
    """The table's name for every image: its path, or that without its ending, or its file's name,
    or its number, as far as one image has one name."""
    found: list[str | None] = [name if name in table else None for name in map(plain, images)]
    for rule in (_without_ending, _base, _base_without_ending, _number):
        if None not in found:
            break
        known = _unambiguous(table, rule)
        if len(_unambiguous(images, rule)) < len(images):
            continue
        found = [
            known.get(rule(image)) if key is None else key
            for image, key in zip(images, found, strict=True)
        ]
    return found


def _unambiguous(names: Iterable[str], rule: Callable[[str], str | int | None]) -> dict:
    """Names by what the rule makes of them, where that is one name's alone."""
    counts = Counter(rule(name) for name in names)
    return {rule(name): name for name in names if rule(name) is not None and counts[rule(name)] < 2}


def _without_ending(name: str) -> str:
    path = PurePosixPath(plain(name))
    return (path.with_suffix("") if path.name else path).as_posix()


def _base(name: str) -> str:
    return PurePosixPath(plain(name)).name


def _base_without_ending(name: str) -> str:
    return PurePosixPath(plain(name)).stem


def _number(name: str) -> int | None:
    """img00000123.png and the id 123 are the same image."""
    digits = re.fullmatch(r"\D*(\d{1,18})", PurePosixPath(plain(name)).stem)
    return int(digits[1]) if digits else None


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


MOST_NUMBERS = 4096  # of a vector


def vectors_of(values: list[Any], images: list[str], *, where: str) -> Labels:
    """Labels that are numbers, or as many numbers for each image: rows of a table of them.

    Raises DataError for anything else.
    """
    found = [_vector(value) for value in values]
    for name, value, vector in zip(images, values, found, strict=True):
        if vector is None or len(vector) != len(found[0] or ()) or len(vector) > MOST_NUMBERS:
            raise DataError(
                f"{where} gives {shown(name)} the label {shown(value, 60)}; as vectors, labels are "
                "as many finite numbers for every image"
            )
    table = sorted({vector for vector in found if vector is not None})
    row = {vector: i for i, vector in enumerate(table)}
    return Labels([row[vector] for vector in found if vector is not None], [], table)


def _vector(value: Any) -> tuple[float, ...] | None:
    """3 -> (3.0,), [0, 1.5] and "0 1.5" -> (0.0, 1.5); None for what holds no numbers."""
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    parts = value if isinstance(value, list | tuple) else [value]
    try:
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers if numbers and all(map(math.isfinite, numbers)) else None


def _refuse_no_class(value: Any, sentence: str) -> None:
    one = isinstance(value, int | float | str) and not isinstance(value, bool)
    if not one or value == "" or _is_several(value):
        raise DataError(
            f"{sentence}, which is no class; give every image one whole number or one name, or "
            f"say {VECTORS}"
        )
    if whole(value) is None and _is_number(value):
        raise DataError(
            f"{sentence}, which is no class; classes are whole numbers from 0 on, or names; or say "
            f"{VECTORS}"
        )


def _is_several(value: Any) -> bool:
    """Whether a text is several numbers: "1 2", "0,1"."""
    parts = value.replace(",", " ").split() if isinstance(value, str) else ()
    return len(parts) > 1 and all(map(_is_number, parts))


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
    except (TypeError, ValueError, OverflowError):
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


def _one_each(pairs: list[tuple[str | int, Any]], where: str) -> dict[str, Any]:
    """A table of names; two labels of one image are refused."""
    table: dict[str, Any] = {}
    for name, value in pairs:
        key = plain(str(name))
        if key in table and table[key] != value:
            raise DataError(
                f"{where} gives {shown(name)} two labels, {shown(table[key], 40)} and "
                f"{shown(value, 40)}; an image has one class"
            )
        table[key] = value
    return table
