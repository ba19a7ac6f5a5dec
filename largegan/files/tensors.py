"""safetensors from outside: the header is checked against the file before anything is loaded."""

import math
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from largegan.errors import DataError, reason, shown
from largegan.files.documents import Count, parse_document

LARGEST_HEADER = 100 << 20  # bytes, as the format itself allows
BITS = {
    "F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16,
    "I16": 16, "U16": 16, "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8,
}  # fmt: skip
WHAT, REMEDY = "cannot be read as safetensors", "fetch or write it again"


class Entry(msgspec.Struct):
    """One tensor in the header."""

    dtype: str
    shape: Annotated[list[Count], Meta(max_length=64)]
    data_offsets: Annotated[list[Count], Meta(min_length=2, max_length=2)]


def read_tensors(path: Path, *, remedy: str = REMEDY) -> dict[str, Tensor]:
    """All tensors of a file, on the host. Raises DataError for what is damaged."""
    try:
        read_header(path, remedy=remedy)
        return load_file(path)
    except DataError:
        raise
    except OSError as fault:
        raise DataError(f"{shown(path)} cannot be read ({reason(fault)}); {remedy}") from fault
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as fault:
        raise DataError(f"{shown(path)} cannot be read ({shown(fault)}); {remedy}") from fault


def read_header(path: Path, *, remedy: str = REMEDY) -> tuple[dict[str, Entry], dict[str, str]]:
    """The tensors that a file says it has, and its notes. Raises DataError, OSError."""
    where = shown(path)
    with path.open("rb") as file:
        size = path.stat().st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, LARGEST_HEADER):
            raise DataError(f"{where} {WHAT} (its header ends beyond it); {remedy}")
        text = file.read(length)
    raw = parse_document(text, dict[str, msgspec.Raw], where=where, what=WHAT, remedy=remedy)
    notes = raw.pop("__metadata__", None)
    about = {"where": where, "what": WHAT, "remedy": remedy}
    entries = {name: parse_document(bytes(entry), Entry, **about) for name, entry in raw.items()}
    for name, entry in entries.items():
        _check(name, entry, size - 8 - length, where, remedy)
    return entries, parse_document(bytes(notes), dict[str, str], **about) if notes else {}


def _check(name: str, entry: Entry, size: int, where: str, remedy: str) -> None:
    begin, end = entry.data_offsets
    if not begin <= end <= size:
        raise DataError(
            f"{where} is damaged: {shown(name)} lies at bytes {begin} to {end} of {size}; {remedy}"
        )
    bits = BITS.get(entry.dtype)
    if bits is None or math.prod(entry.shape) * bits != (end - begin) * 8:
        raise DataError(
            f"{where} is damaged: {shown(name)} is {entry.dtype} of shape {entry.shape}, which "
            f"does not fit its {end - begin} bytes; {remedy}"
        )
