"""Labels of images that are packed: classes, or vectors; `label_files` says where they stand.

A label is a class: a whole number from 0 on, or a name. What is something else (fractions,
vectors, several per image) is refused and never cut down to a number.
"""

import math
from typing import Any, NamedTuple

from largegan.errors import DataError, shown

LARGEST_CLASS = 1 << 20
VECTORS = "--label-vectors (data.label_vectors), if labels are numbers"


class Labels(NamedTuple):
    """A class for every image, and the names of classes where they have some."""

    numbers: list[int] | None
    names: list[str]
    vectors: list[tuple[float, ...]] | None = None  # what the numbers stand for, unless classes


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
