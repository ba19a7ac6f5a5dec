"""A disk that becomes full at any write of any command.

From the n-th file on that is opened for writing, nothing more can be written: either no file takes
a byte any more, or none can be made. For every n until the command comes to its end.
"""

import errno
import os
import resource
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.commands.every_command import COMMANDS, in_a_child, listing

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
MAKES = ("os.mkdir", "os.rename", "os.link", "os.symlink")
SHORT = {"sample": (1,), "translate": (2,), "pack": (2,), "export": (2,), "encode": (1,)}


def full_from(number: int, *, bytes_only: bool):
    """Installs the full disk, in a process that ends with the command."""
    count = 0

    def hear(event: str, arguments: tuple) -> None:
        nonlocal count
        opens = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
        if not (opens or event in MAKES) or str(arguments[0]) == os.devnull:
            return
        count += 1
        if count < number:
            return
        if bytes_only:
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        elif count >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sys.addaudithook(hear)


def check(name: str, inputs: Path, where: Path, number: int, *, bytes_only: bool) -> bool:
    """Whether the command came to its end before the disk was full."""
    row = COMMANDS[name]
    shutil.copytree(inputs, where)
    before = listing(where)
    done = in_a_child(row.words, where, lambda: full_from(number, bytes_only=bytes_only))
    after = listing(where)
    about = f"{name}, full from write {number} on: exit {done.code}\n{done.said}"
    assert done.code in (0, 4), about
    if done.code:
        assert done.last.startswith("error: ") and "Traceback" not in done.said, about
    changed = [path for path in before if after.get(path) != before[path]]
    strange = [path for path in after if path not in before]
    assert all(path.split("/")[0] in row.writes for path in changed + strange), about
    hidden = [path for path in strange if any(p.startswith(".") for p in path.split("/"))]
    assert not hidden, f"{about}\nleft: {hidden}"
    if done.code:
        again = in_a_child(f"{row.words} {row.again}".strip(), where)
        assert again.code == 0, f"{about}\nand then, with room: exit {again.code}\n{again.said}"
    shutil.rmtree(where)
    return done.code == 0


@pytest.mark.parametrize("name", SHORT)
def test_some_writes(name, inputs, tmp_path):
    for number in SHORT[name]:
        assert not check(name, inputs, tmp_path / "box", number, bytes_only=number % 2 == 0)


@pytest.mark.slow
@pytest.mark.parametrize("bytes_only", [True, False], ids=["no bytes", "no files"])
@pytest.mark.parametrize("name", COMMANDS)
def test_every_write(name, bytes_only, inputs, tmp_path):
    number = 1
    while not check(name, inputs, tmp_path / "box", number, bytes_only=bytes_only):
        number += 1
    assert number > 1
