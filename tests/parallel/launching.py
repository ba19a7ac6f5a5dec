"""Starts real process groups: N Python processes over gloo, as torchrun would."""

import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAUNCH_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def clean_environment() -> dict[str, str]:
    """This environment without anything a launcher would have put there."""
    drop = ("ACCELERATE_", "TORCHELASTIC", "SLURM_", "OMPI_", "PMI_", *LAUNCH_VARIABLES)
    env = {k: v for k, v in os.environ.items() if not k.startswith(drop)}
    return env | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def start_ranks(
    arguments: list[str], world: int, *, folders: list[Path] | None = None
) -> list[subprocess.Popen]:
    """`python ARGUMENTS` once per rank, with the variables that torch.distributed reads.

    `folders` has the clone that each rank runs, when it is not this one.
    """
    port = str(free_port())
    processes = []
    for rank in range(world):
        folder = folders[rank] if folders else ROOT
        env = clean_environment() | {
            "PYTHONPATH": str(folder),
            "RANK": str(rank),
            "WORLD_SIZE": str(world),
            "LOCAL_RANK": str(rank),
            "LOCAL_WORLD_SIZE": str(world),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
        }
        processes.append(
            subprocess.Popen(
                [sys.executable, *arguments],
                env=env,
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return processes


def run_ranks(arguments: list[str], world: int, timeout_s: float = 240) -> list[str]:
    """Waits for all ranks; returns what each printed; fails the test if any failed."""
    processes = start_ranks(arguments, world)
    try:
        outputs = [p.communicate(timeout=timeout_s)[0] for p in processes]
    finally:
        for p in processes:
            p.kill()
    for p, output in zip(processes, outputs, strict=True):
        assert p.returncode == 0, output
    return outputs
