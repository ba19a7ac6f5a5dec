"""Runs the training program in fresh processes that start in milliseconds (torch is preloaded)."""

import multiprocessing
import os
import sys
import time
from pathlib import Path

from tests.parallel.launching import patience

# Python's fork server before 3.12 does not see the parent's sys.path, and says nothing.
os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.forked_preload"])


def program(arguments: list[str], log: str, env: dict[str, str] | None = None) -> None:
    """What the child does: `python -m largegan.train ARGUMENTS > log 2>&1`."""
    os.environ.update(env or {})
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    from largegan.train import main

    sys.exit(main(arguments))


def start(arguments: list[str], log: Path, env: dict[str, str] | None = None):
    process = CONTEXT.Process(target=program, args=(arguments, str(log), env))
    process.start()
    return process


def run(arguments: list[str], log: Path, timeout_s: float = 120) -> int:
    """The exit code."""
    process = start(arguments, log)
    process.join(patience(timeout_s))
    assert process.exitcode is not None, log.read_text()
    return process.exitcode


def wait_for(condition, process, log: Path, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + patience(timeout_s)
    while not condition():
        assert process.is_alive(), f"exit code {process.exitcode}\n{log.read_text()}"
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.01)
