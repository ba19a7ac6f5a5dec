"""JSON from outside, read through a schema: types, ranges, lengths and depth in one place."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from largegan.errors import DataError, reason, shown
from largegan.files.special import special

LARGEST = 256 << 20  # bytes of a document
Count = Annotated[int, Meta(ge=0, le=1 << 53)]
Positive = Annotated[int, Meta(ge=1, le=1 << 53)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
FileName = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00]+$")]
T = TypeVar("T")


def read_document(path: Path, kind: type[T], *, what: str, remedy: str) -> T:
    """The JSON file `path` as a `kind`. Raises DataError; see `parse_document`.

    FileNotFoundError is left to the caller, who knows what a missing file means.
    """
    return parse_document(
        read_bounded(path, LARGEST, remedy), kind, where=shown(path), what=what, remedy=remedy
    )


def parse_document(data: bytes | str, kind: type[T], *, where: str, what: str, remedy: str) -> T:
    """JSON text as a `kind`, with or without a byte-order mark.

    Raises DataError: `where` and `what` begin its sentence, such as "x.json" "is not an index".
    """
    if isinstance(data, bytes):
        data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as fault:
        why = "its brackets are too deep" if isinstance(fault, RecursionError) else shown(fault)
        raise DataError(f"{where} {what} ({why}); {remedy}") from fault


def checked(value: Any, kind: type[T], *, where: str, what: str, remedy: str) -> T:
    """Plain values as a `kind`. Raises DataError."""
    try:
        return msgspec.convert(value, type=kind, strict=True)
    except (msgspec.MsgspecError, RecursionError, ValueError) as fault:
        raise DataError(f"{where} {what} ({shown(fault)}); {remedy}") from fault


def read_bounded(path: Path, most: int, remedy: str) -> bytes:
    """The bytes of a file that claims no more than `most`. Raises DataError."""
    if kind := special(path):
        raise DataError(f"{shown(path)} is {kind}, no file; {remedy}")
    try:
        size = path.stat().st_size
        if size > most:
            raise DataError(f"{shown(path)} has {size} bytes, more than {most}; {remedy}")
        with path.open("rb") as file:
            return file.read(most)
    except FileNotFoundError:
        raise
    except OSError as fault:
        raise DataError(f"{shown(path)} cannot be read ({reason(fault)}); {remedy}") from fault


def text_of(data: bytes) -> str:
    """Text of a list or table: UTF-8, with or without a byte-order mark.

    Bytes that are no UTF-8 are kept (surrogate escapes), so that they still name files.
    """
    return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
