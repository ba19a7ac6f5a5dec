"""OUT/manifest.jsonl: what has been translated, by what, and how; a line an image.

It is what resuming trusts: a file counts as done when the manifest names it with the same
checkpoint and options and its size and sha256 are the recorded ones. The line is written before
the file gets its name, so that a kill in between leaves a line without a file, never the reverse.
"""

import contextlib
import fcntl
import json
import os
from pathlib import Path

from largegan.errors import ConfigError
from largegan.interop.exported import sha256_of

NAME = "manifest.jsonl"


class Manifest:
    """The manifest of a folder; several processes may append at the same time."""

    def __init__(self, folder: Path):
        self.folder, self.path = folder, folder / NAME
        self.records: dict[str, dict] = {}
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                with contextlib.suppress(ValueError, KeyError):  # cut off by a kill
                    record = json.loads(line)
                    self.records[record["output"]] = record

    def append(self, record: dict) -> None:
        line = (json.dumps(record) + "\n").encode()
        with self.path.open("ab") as file:
            # Where the file system has no locks, one short write is still in one piece.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            if _ends_mid_line(self.path):
                line = b"\n" + line
            file.write(line)

    def is_done(self, output: str, how: dict) -> bool:
        """Whether a translation is there, whole, and by the same checkpoint and options.

        Raises ConfigError for a file that is there and is something else: it is not ours to
        replace.
        """
        path, record = self.folder / output, self.records.get(output)
        if not path.exists():
            return False
        if record is None:
            raise ConfigError(
                f"{path} exists, and {self.path} does not know it; choose another OUT, or "
                "--overwrite"
            )
        for name, value in how.items():
            if record.get(name) != value:
                raise ConfigError(
                    f"{path} was translated with another {name} ({record.get(name)}, now {value}); "
                    "choose another OUT, or --overwrite"
                )
        return path.stat().st_size == record["bytes"] and sha256_of(path) == record["sha256"]


def _ends_mid_line(path: Path) -> bool:
    """After a kill while writing: the next line must not be glued to the torso."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
