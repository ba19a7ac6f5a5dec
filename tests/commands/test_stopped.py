"""A signal at any write of any command: nothing is left of it, and the exit code says so."""

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from tests.commands.every_command import COMMANDS, in_a_child, listing
from tests.commands.test_full_disk import MAKES, WRITES

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SHORT = {"sample": 1, "pack": 3, "export": 1, "import_checkpoint": 3}
TOOLS = [name for name in COMMANDS if name != "train"]  # which saves itself, and says so


def stop_at(number: int, which: signal.Signals) -> None:
    """Sends a signal to this process at its n-th write."""
    count = 0

    def hear(event: str, arguments: tuple) -> None:
        nonlocal count
        opens = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES
        if (opens or event in MAKES) and str(arguments[0]) != os.devnull:
            count += 1
            if count == number:
                os.kill(os.getpid(), which)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.addaudithook(hear)


def check(name: str, inputs: Path, where: Path, number: int) -> bool:
    """Whether the command came to its end before its n-th write."""
    row, which = COMMANDS[name], SIGNALS[number % 3]
    shutil.copytree(inputs, where)
    before = listing(where)
    done = in_a_child(row.words, where, lambda: stop_at(number, which))
    after = listing(where)
    about = f"{name}, {which.name} at write {number}: exit {done.code}\n{done.said}"
    assert done.code in (0, 128 + which) and "Traceback" not in done.said, about
    if done.code:
        assert done.last.startswith(f"error: stopped by {which.name}"), about
    changed = [path for path in before if after.get(path) != before[path]]
    strange = [path for path in after if path not in before]
    assert all(path.split("/")[0] in row.writes for path in changed + strange), about
    hidden = [path for path in strange if any(p.startswith(".") for p in path.split("/"))]
    assert not hidden, f"{about}\nleft: {hidden}"
    shutil.rmtree(where)
    return done.code == 0


@pytest.mark.parametrize("name", SHORT)
def test_some_writes(name, inputs, tmp_path):
    assert not check(name, inputs, tmp_path / "box", SHORT[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", TOOLS)
def test_every_write(name, inputs, tmp_path):
    number = 1
    while not check(name, inputs, tmp_path / "box", number):
        number += 1
    assert number > 1
