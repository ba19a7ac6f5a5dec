"""Runs the program in fresh processes that start in milliseconds (torch is preloaded).

An interpreter of its own takes 3 s of CPU time until it trains: for tests of the start itself.
"""

import faulthandler
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.parallel.launching import ROOT, all_well, environments, patience

# Python's fork server before 3.12 does not see the parent's sys.path, and says nothing.
os.environ["PYTHONPATH"] = str(Path(__file__).parents[1])
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.forked_preload"])


def program(arguments: list[str], log: str, env: dict[str, str] | None = None) -> None:
    """What the child does: `python -m largegan.train ARGUMENTS > log 2>&1`."""
    os.environ.update(env or {})
    print_to(log)
    from largegan.train import main

    sys.exit(main(arguments))


def print_to(log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


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


class Rank:
    """A forked process, with the parts of `subprocess.Popen` that tests of ranks use."""

    def __init__(self, arguments: list[str], env: dict[str, str]):
        self.log = Path(tempfile.mkstemp(prefix="rank-", suffix=".log")[1])
        self.process = CONTEXT.Process(target=interpret, args=(arguments, str(self.log), env))
        self.process.start()
        self.pid = self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def communicate(self, timeout: float) -> tuple[str, None]:
        self.process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("a rank", timeout)
        text = self.log.read_text()
        self.log.unlink()
        return text, None


def interpret(arguments: list[str], log: str, env: dict[str, str]) -> None:
    """What a rank does: `env - ENV python -m MODULE WORDS > log 2>&1`, or `python FILE WORDS`."""
    os.setsid()
    print_to(log)
    faulthandler.enable(2)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(ROOT)
    named = arguments[0] == "-m"
    sys.argv = arguments[1:] if named else arguments
    if named:
        sys.modules.pop(sys.argv[0], None)  # or it would be said that it is there already
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


def start_ranks(arguments: list[str], world: int) -> list[Rank]:
    """`launching.start_ranks`, but for the time of importing torch."""
    return [Rank(arguments, env) for env in environments(world)]


def run_ranks(arguments: list[str], world: int, timeout_s: float = 240) -> list[str]:
    """Waits for all ranks; returns what each printed; fails the test if any failed."""
    return all_well(start_ranks(arguments, world), timeout_s)
