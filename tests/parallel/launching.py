"""Starts real process groups: N Python processes over gloo, as torchrun would."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAUNCH_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def patience(seconds: float) -> float:
    """How long to wait for what takes an idle machine much less than `seconds`.

    Stretched by how busy this machine is, or by LARGEGAN_TEST_PATIENCE where that is set.
    """
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * float(os.environ.get("LARGEGAN_TEST_PATIENCE") or max(1.0, busy))


def clean_environment() -> dict[str, str]:
    """This environment without anything a launcher would have put there."""
    drop = ("ACCELERATE_", "TORCHELASTIC", "SLURM_", "OMPI_", "PMI_", *LAUNCH_VARIABLES)
    env = {k: v for k, v in os.environ.items() if not k.startswith(drop)}
    return env | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def start_ranks(
    arguments: list[str], world: int, *, folders: list[Path] | None = None
) -> list[subprocess.Popen]:
    """`python ARGUMENTS` once per rank, in interpreters of their own (see also `forked`).

    `folders` has the clone that each rank runs, when it is not this one.
    """
    processes = []
    for env, folder in zip(environments(world), folders or [ROOT] * world, strict=True):
        env |= {"PYTHONPATH": str(folder), "PYTHONFAULTHANDLER": "1"}
        processes.append(start(arguments, env, folder))
    return processes


def environments(world: int) -> list[dict[str, str]]:
    """Of each rank, with the variables that torch.distributed reads."""
    shared = clean_environment() | {
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(world)]


def start(
    arguments: list[str], env: dict[str, str] | None = None, folder: Path = ROOT
) -> subprocess.Popen:
    """`python ARGUMENTS`, in a process group of its own, so that it ends with its children."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=env or clean_environment(),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run_ranks(arguments: list[str], world: int, timeout_s: float = 240) -> list[str]:
    """Waits for all ranks; returns what each printed; fails the test if any failed."""
    return all_well(start_ranks(arguments, world), timeout_s)


def all_well(processes: list[subprocess.Popen], timeout_s: float) -> list[str]:
    """What each printed, once all have ended; fails the test if any failed."""
    outputs = finish(processes, timeout_s)
    for p, output in zip(processes, outputs, strict=True):
        assert p.returncode == 0, output
    return outputs


def finish(processes: list[subprocess.Popen], timeout_s: float = 240) -> list[str]:
    """What each printed, once all have ended; where each one stands, if they do not in time."""
    limit = patience(timeout_s)
    deadline = time.monotonic() + limit
    try:
        return [p.communicate(timeout=max(0.0, deadline - time.monotonic()))[0] for p in processes]
    except subprocess.TimeoutExpired:
        for p in processes:
            tell(p, signal.SIGCONT)
            tell(p, signal.SIGABRT)  # Python writes where all its threads are
        outputs = [f"--- rank {i}:\n{last_words(p)}" for i, p in enumerate(processes)]
        raise AssertionError(f"not done after {limit:.0f} s\n" + "\n".join(outputs)) from None
    finally:
        for p in processes:
            tell(p, signal.SIGKILL)


def tell(process: subprocess.Popen, number: int) -> None:
    """A signal to a process that `start` began, and to its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def last_words(process: subprocess.Popen) -> str:
    try:
        return process.communicate(timeout=patience(20))[0]
    except subprocess.TimeoutExpired:
        return "(nothing: it does not hear)"
