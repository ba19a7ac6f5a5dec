"""The images that a dataset is packed from, whatever they came in: by number, with their classes.

Shards are written in a random order, so a source gives any of its images when it is asked. What can
only be read front to back goes through `apart.spilled` first.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from largegan.data.account import Account
from largegan.data.labels import Labels, numbered, vectors_of
from largegan.data.parts import SPLITS
from largegan.errors import ConfigError

LABEL_CHOICES = ("auto", "folder", "file", "none")
HALVES = ("left", "right")


@dataclass(frozen=True)
class Request:
    """What is wanted of a source.

    Args:
        labels: one of LABEL_CHOICES.
        split: train, val, test or all, where a set has such parts.
        field: the name of the label, where images have several.
        class_names: names in the order of labels, instead of those of the source.
        compact_labels: renumber so that no class is empty.
        side_by_side: pictures hold a pair; "left" or "right" is the half that is image a.
        vectors: labels are numbers, or lists of as many of them, and no classes.
        inside: a folder in a zip, which alone is meant.
        lone: images of pairs whose other half is missing are left out, and no error.
        windowed: it is known which values are black and white, so arrays may hold floats.
        scratch: a folder for what has to be unpacked first; it goes when the work is done.
    """

    labels: str = "auto"
    split: str | None = None
    field: str | None = None
    class_names: tuple[str, ...] = ()
    compact_labels: bool = False
    side_by_side: str | None = None
    vectors: bool = False
    inside: str = ""
    lone: bool = False
    windowed: bool = False
    scratch: Path = Path()

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("labels", self.labels, LABEL_CHOICES),
            ("split", self.split, (None, *SPLITS)),
            ("side_by_side", self.side_by_side, (None, *HALVES)),
        ):
            if value not in choices:
                known = ", ".join(choice for choice in choices if choice)
                raise ConfigError(f"{name} is {value!r}; choose one of {known}")


DEFAULT = Request()


class Item(NamedTuple):
    """One image as a reader meets it: a file's bytes or an array [H, W, C], and its label."""

    name: str
    image: bytes | np.ndarray
    label: Any = None


@dataclass
class Originals:
    """Images by number. ``load(i)`` gives the bytes of a file, or an array [H, W, C].

    Of pairs it gives both images, as a tuple. ``account`` says what was left out.
    """

    names: list[str]
    load: Callable[[int], bytes | np.ndarray | tuple]
    labels: list[int] | None = None
    class_names: list[str] = field(default_factory=list)
    account: Account = field(default_factory=Account)
    vectors: list[tuple[float, ...]] | None = None  # what the labels stand for, unless classes

    def labeled(self, found: Labels) -> "Originals":
        """These images with other labels."""
        return replace(self, labels=found.numbers, class_names=found.names, vectors=found.vectors)


def classes_of(
    values: list[Any],
    names: list[str],
    request: Request,
    *,
    where: str,
    class_names: list[str] | None = None,
) -> Labels:
    """The classes that a source states, image by image; none where all are None, or none wanted.

    Raises DataError for what is no class.
    """
    if request.labels == "none" or all(value is None for value in values):
        return Labels(None, [])
    if request.vectors:
        return vectors_of(values, names, where=where)
    found = numbered(values, names, where=where)
    return Labels(found.numbers, found.names or list(class_names or ()))
