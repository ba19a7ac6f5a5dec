"""Labels of images by their folders, or in a file beside them: dataset.json or labels.csv."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any

import msgspec

from largegan.data.account import Account
from largegan.data.labels import Labels, numbered, vectors_of
from largegan.data.parts import DOMAINS, part_of
from largegan.data.tables import REMEDY, read_table
from largegan.errors import ConfigError, DataError, shown
from largegan.files.documents import parse_document

LABEL_FILES = ("dataset.json", "labels.csv")


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
