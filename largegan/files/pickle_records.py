"""What is made of a pickle's objects: names, records that only remember, and bounds for both."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from largegan.errors import DataError

MOST_DEPTH = 200
LARGEST_KEY = 1 << 53


@dataclass(frozen=True)
class Name:
    """What a pickle calls by `module.name`."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Record:
    """An object that was not made: of which class, from what, and what it was told afterwards."""

    kind: Name
    arguments: tuple = ()
    state: Any = None
    items: list = field(default_factory=list)  # what was appended to it, or set in it


class Mark:
    """A numpy array or type while it is being described."""

    def __init__(self, kind: str, arguments: tuple):
        self.kind, self.arguments, self.state = kind, arguments, None


def kind_of(value: Any) -> str:
    """What a value is, for a sentence."""
    return (
        str(value)[:120] if isinstance(value, Name) else f"a value of type {type(value).__name__}"
    )


def checked_key(key: Any) -> Any:
    """Keys whose hash costs nothing."""
    small = type(key) in (int, bool) and abs(key) < LARGEST_KEY
    if small or key is None or type(key) in (str, bytes):
        return key
    raise DataError(f"has {kind_of(key)} as a key")


def children(value: Any) -> Iterator[Any]:
    """What lies directly in a container."""
    if isinstance(value, dict):
        return iter(value.values())
    if isinstance(value, list | tuple):
        return iter(value)
    if isinstance(value, Record):
        return iter((value.arguments, value.state, value.items))
    return iter(())


def check_depth(root: Any) -> None:
    """Raises `DataError` for what is nested more than `MOST_DEPTH` deep; cycles are no depth."""
    seen, level = {id(root)}, [root]
    for _ in range(MOST_DEPTH):
        below = []
        for value in level:
            for child in children(value):
                if isinstance(child, dict | list | tuple | Record) and id(child) not in seen:
                    seen.add(id(child))
                    below.append(child)
        if not below:
            return
        level = below
    raise DataError(f"is nested more than {MOST_DEPTH} deep")
