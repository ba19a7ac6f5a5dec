"""Which file is decoded now, so that what decoders warn of can name it."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from contextvars import ContextVar

from largegan.errors import one_line, shown

READING: ContextVar[str | None] = ContextVar("READING", default="")  # the file that is decoded now


@contextlib.contextmanager
def reading(name: str | None) -> Iterator[None]:
    """Around the decoding of a file: what decoders warn of is said with its name.

    None: it is decoded again later, and what it is warned of is said then.
    """
    before = READING.set(name)
    try:
        yield
    finally:
        READING.reset(before)


def name_warnings() -> None:
    """For programs: warnings of PIL (EXIF, sizes) become a line with the file's name, for each."""
    usual = warnings.showwarning
    if getattr(usual, "__module__", "") == __name__:  # it was done before
        return

    def show(message, category, filename, lineno, file=None, line=None) -> None:
        name = READING.get()
        if name:
            print(f"note: {shown(name)}: {one_line(str(message))}", file=file or sys.stderr)
        elif name is not None:
            usual(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    warnings.filterwarnings("always", module=r"PIL\.")
