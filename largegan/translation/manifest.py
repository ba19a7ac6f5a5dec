"""OUT/manifest.jsonl: what has been translated, by what, and how; a line an image.

It is what resuming trusts: a file counts as done when the manifest names it with the same
checkpoint and options and its size and sha256 are the recorded ones. The line is written before
the file gets its name, so that a kill in between leaves a line without a file, never the reverse.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from largegan.errors import ConfigError
from largegan.files.digests import sha256_of
from largegan.files.documents import LARGEST, Count, Sha256, read_bounded

NAME = "manifest.jsonl"
BEGINNING = b'{"output": "'


class Manifest:
    """The manifest of a folder; several processes may append at the same time."""

    def __init__(self, folder: Path):
        self.folder, self.path = folder, folder / NAME
        self.records: dict[str, dict] = {}
        if self.path.exists():
            self.records = read_records(self.path)

    def append(self, record: dict) -> None:
        """Adds a line, whole, whoever else writes into the same file."""
        line = (json.dumps(record) + "\n").encode()
        with self.path.open("ab") as file:
            # Where the file system has no locks, one short write is still in one piece.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            if _ends_mid_line(self.path):
                line = b"\n" + line
            file.write(line)

    def refuse_strangers(self, outputs: Iterable[str]) -> None:
        """Raises ConfigError for a file that is there and that no earlier start made."""
        for output in outputs:
            path = self.folder / output
            if os.path.lexists(path) and output not in self.records:
                raise ConfigError(
                    f"{path} exists, and {self.path} does not know it, so it is not replaced; move "
                    "it away or choose another OUT"
                )

    def is_done(self, output: str, how: dict) -> bool:
        """Whether a translation is there, whole, and by the same checkpoint and options.

        Raises ConfigError for a file that is there and is something else: it is not ours to
        replace.
        """
        path, record = self.folder / output, self.records.get(output)
        if not os.path.lexists(path):
            return False
        if record is None:
            raise ConfigError(
                f"{path} exists, and {self.path} does not know it; move it away or choose another "
                "OUT"
            )
        for name, value in how.items():
            if record.get(name) != value:
                raise ConfigError(
                    f"{path} was translated with another {name} ({record.get(name)}, now {value}); "
                    "choose another OUT, or --overwrite"
                )
        if not path.is_file() or path.stat().st_size != record["bytes"]:
            return False
        return sha256_of(path) == record["sha256"]


class Record(msgspec.Struct):
    """What has to be in a line; the rest says how the translation was made."""

    output: str
    bytes: Count
    sha256: Sha256


def read_records(path: Path) -> dict[str, dict]:
    """The lines by the file that they are about. Raises ConfigError for somebody else's file."""
    found: dict[str, dict] = {}
    strange = 0
    remedy = "move it away or choose another OUT"
    for line in read_bounded(path, LARGEST, remedy).splitlines():
        try:
            record = msgspec.convert(json.loads(line), dict[str, Any])
            found[msgspec.convert(record, Record).output] = record
        except msgspec.MsgspecError:
            strange += 1
        except (ValueError, RecursionError):
            # Cut off by a kill, if it is one of ours.
            strange += not line.startswith(BEGINNING[: len(line)])
    if strange:
        raise ConfigError(f"{path} is not what translate.py writes; {remedy}")
    return found


def _ends_mid_line(path: Path) -> bool:
    """After a kill while writing: the next line must not go on in an unfinished one."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
