"""Stands in for training where a test asks who gets which signal: starts in 30 ms, needs no torch.

It counts steps, writes `checkpoints/NNNNNNNNN/COMPLETE` and a line per event to `events`, saves and
leaves with 75 when asked, and leaves with 4 when another rank is gone, as training does.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

RANK = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")))
WORLD = int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1")))


def main(argv: list[str]) -> int:
    options = dict(zip(argv[::2], argv[1::2], strict=True))
    folder, total = Path(options["--run.dir"]), int(options.get("--train.total_nimg", 40))
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    heard: list[int] = []
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, lambda n, frame: heard.append(n))
    step = newest(folder)
    note(folder, "start", step=step, options=options, env=interesting())
    if "--fail" in options:
        return int(options["--fail"])
    while step < total:
        time.sleep(0.05)
        step += 1
        if (heard and RANK == 0) or (folder / f"stop-{start()}").exists():
            (folder / f"stop-{start()}").touch()
            if RANK == 0:
                save(folder, step)
            note(folder, "saved", step=step, signals=[signal.Signals(n).name for n in heard])
            return 75
    if RANK == 0:
        save(folder, step)
    note(folder, "done", step=step)
    return 0


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
    line = {"what": what, "rank": RANK, "world": WORLD, "start": start(), **facts}
    with open(folder / f"events-{RANK}", "a") as file:
        file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    code = main(sys.argv[1:])
    with open(os.environ["LARGEGAN_EXIT_FILE"], "a") as record:
        record.write(f"{code}\n")
    sys.exit(code)
