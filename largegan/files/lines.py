"""Logs of JSON objects, one a line, are read here."""

import json
from pathlib import Path
from typing import Any

from largegan.errors import DataError, shown
from largegan.files.documents import LARGEST, read_bounded, text_of

REMEDY = "remove that line, the others suffice"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log of JSON objects; none where there is no file. Raises DataError.

    A last line without its end is being written, or was when the run was killed: left out.
    """
    try:
        text = text_of(read_bounded(path, LARGEST, "make it shorter"))
    except FileNotFoundError:
        return []
    *whole, _ = text.split("\n")
    return [line_of(line, f"{shown(path)}, line {n},") for n, line in enumerate(whole, 1)]


def line_of(text: str, where: str) -> dict[str, Any]:
    """One object. Raises DataError; NaN and Infinity are numbers here, as Python writes them."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise DataError(f"{where} is no line of a log ({shown(fault)}); {REMEDY}") from fault
    if not isinstance(found, dict):
        raise DataError(f"{where} is no line of a log (it holds no object); {REMEDY}")
    return found
