"""Words of a command line: what is no such word is one sentence, and exit code 2, before anything.

`Number("Batch")`, `Numbers("Truncation")`, `to_path` and the like are for `type=` of an option;
names are those of the ranges in `largegan.files.ranges`.
"""

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

from largegan.errors import ConfigError, one_line, shown
from largegan.files.special import special

MOST_NUMBERS = 1000  # in one list
LARGEST_SEED = (1 << 63) - 1  # of torch's generators


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence; `--help` says the rest."""

    def __init__(self, *args: Any, **options: Any):
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **options)

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"^argument ([^:]+): (?=is )", r"\1 ", message)
        message = shown(message.removeprefix("argument "), 500)
        print(f"error: {one_line(message)}; see {self.prog} --help", file=sys.stderr)
        sys.exit(ConfigError.exit_code)


class Number:
    """A number of one of the ranges, as Python's own int or float."""

    def __init__(self, kind: str):
        self.kind = kind

    def __call__(self, text: str) -> int | float:
        from largegan.files import ranges  # a fifth of a second, which --help need not wait for

        kind = getattr(ranges, self.kind)
        try:
            return ranges.plain(kind(text))
        except (ValueError, TypeError, OverflowError) as fault:
            raise argparse.ArgumentTypeError(
                f"is {said(text)}; it must be {ranges.LIMITS[kind.__name__]}"
            ) from fault


def said(text: str) -> str:
    """What somebody gave for a number: as it is where it looks like one."""
    return text if re.fullmatch(r"[-+.\w]{1,20}", text) else f"'{shown(text, 60)}'"


class Numbers:
    """Numbers of one of the ranges, between commas, as a tuple."""

    def __init__(self, kind: str):
        self.one = Number(kind)

    def __call__(self, text: str) -> tuple[int | float, ...]:
        words = text.split(",")
        if len(words) > MOST_NUMBERS:
            raise argparse.ArgumentTypeError(
                f"is a list of {len(words)} numbers; give at most {MOST_NUMBERS}"
            )
        return tuple(self.one(word) for word in words)


def to_source(text: str) -> str:
    """What is read: a path, possibly with [START:STOP:STEP], an address or a name."""
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError(f"is '{shown(text, 60)}'; it must be a path, not empty")
    place = os.path.expanduser(text)
    if kind := special(place):
        raise argparse.ArgumentTypeError(
            f"is {shown(text, 60)}, {kind}; it must be a file or folder"
        )
    return place


def to_path(text: str) -> Path:
    """A path, ~ expanded."""
    return Path(to_source(text))


def to_name(text: str) -> str:
    """A name, of something that is looked up."""
    if not text.strip() or not text.isprintable() or len(text) > 200:
        raise argparse.ArgumentTypeError(
            f"is '{shown(text, 60)}'; it must be a name of at most 200 letters"
        )
    return text


def to_text(text: str) -> str:
    """A list or a pattern that is read later, and says something."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; leave it out, or say which")
    return text


def to_names(text: str) -> list[str]:
    """Names between commas."""
    return [to_name(word.strip()) for word in text.split(",")]
