"""Stands in for training where a test asks who gets which signal: starts in 30 ms, needs no torch.

It writes `checkpoints/NNNNNNNNN/COMPLETE` and a line per event to `events-RANK`, saves and leaves
with 75 when asked, as training does. It goes on until the job was restarted `--restarts` times, or
as often as STANDIN_RESTARTS says.
"""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

RANK = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")))
WORLD = int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1")))


def main(argv: list[str]) -> int:
    options = dict(zip(argv[::2], argv[1::2], strict=True))
    folder = Path(options["--run.dir"])
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    heard: list[str] = []
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, lambda n, frame: heard.append(signal.Signals(n).name))
    step, stop = newest(folder), folder / f"stop-{start()}"
    note(folder, "start", step=step, options=argv, env=interesting(), data=listing(options))
    if "--fail" in options:
        return int(options["--fail"])
    more = os.environ.get("STANDIN_RESTARTS", "0")
    last = step + 3 if start() >= int(options.get("--restarts", more)) else None
    while step != last:
        time.sleep(0.05)
        step += 1
        if heard:
            stop.touch()
        if stop.exists():
            return leave(folder, step, heard)
    if RANK == 0:
        save(folder, step)
    note(folder, "done", step=step)
    return 0


def leave(folder: Path, step: int, heard: list[str]) -> int:
    """All ranks save together; each notes whether it heard the signal itself."""
    deadline = time.monotonic() + 5
    while not heard and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)  # a checkpoint takes its time, and whoever started this has to wait for it
    if RANK == 0:
        save(folder, step)
    note(folder, "saved", step=step, signals=heard)
    return 75


def listing(options: dict) -> list[str]:
    """The files that --data.path names, with the host that sees them."""
    if "--data.path" not in options:
        return []
    return [socket.gethostname(), *sorted(os.listdir(options["--data.path"]))]


def start() -> int:
    return int(os.environ.get("SLURM_RESTART_COUNT", 0))


def newest(folder: Path) -> int:
    return max((int(p.parent.name) for p in folder.glob("checkpoints/*/COMPLETE")), default=0)


def save(folder: Path, step: int) -> None:
    target = folder / "checkpoints" / f"{step:09d}"
    target.mkdir(exist_ok=True)
    (target / "COMPLETE").touch()


def interesting() -> dict:
    prefixes = ("NCCL", "PET_", "OMP_", "MASTER_", "CUDA_", "SLURM_RESTART", "SLURM_LOCALID")
    return {k: v for k, v in os.environ.items() if k.startswith(prefixes)}


def note(folder: Path, what: str, **facts) -> None:
    me = {"rank": RANK, "world": WORLD, "pid": os.getpid(), "host": socket.gethostname()}
    line = {"what": what, "start": start(), **me, **facts}
    with open(folder / f"events-{RANK}", "a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    code = main(sys.argv[1:])
    with open(os.environ["LARGEGAN_EXIT_FILE"], "a") as record:
        record.write(f"{code}\n")
    sys.exit(0 if code == 75 else code)
