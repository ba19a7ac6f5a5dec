#!/usr/bin/env python
"""How long a checkpoint stops training, against how long it takes to be on the disk.

    python benchmarks/checkpoint_pause.py --machine "NAME OF THE CPU" [--mib 256 1024 2048]
    python benchmarks/checkpoint_pause.py         # writes the table of docs/engines.md

The state is as large as stated, half of it weights and half moments, in tensors of 16 MiB. Medians
of the saves of each size: the pause (a copy to the host), the whole (copy, write, fsync, hash), and
what a loop of small tensor operations on the main thread loses while the file is written beside it.
Results are written when all sizes are done, with what else the machine did: its load at the start.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch

from largegan.checkpoint import Checkpoint, on_host
from largegan.run.lock import RunLock
from largegan.run.saver import Saver

RESULTS = Path(__file__).parent / "results" / "checkpoint-pause.json"
PAGE = Path(__file__).parents[1] / "docs" / "engines.md"
BEGIN, END = "<!-- from benchmarks/results/checkpoint-pause.json -->", "<!-- end of pauses -->"
TENSOR_MIB = 16


def tensors(mib: int, what: str) -> dict[str, torch.Tensor]:
    count = max(1, mib // TENSOR_MIB)
    return {f"{what}.{i}": torch.randn(TENSOR_MIB * 2**18) for i in range(count)}


def work_per_second(until) -> float:
    """Small operations a second while `until()` is false."""
    x, done, start = torch.randn(64, 64), 0, time.perf_counter()
    while not until():
        for _ in range(20):
            x = (x @ x).tanh()
        done += 20
    return done / (time.perf_counter() - start)


def one_save(saver: Saver, nimg: int, model: dict, optimizer: dict) -> dict[str, float]:
    start = time.perf_counter()
    content = Checkpoint(on_host(model), on_host(optimizer), {"nimg": nimg})
    saver.begin(nimg, content, keep_nimg=None)
    pause = time.perf_counter() - start
    thread = saver._thread
    beside = work_per_second(lambda: not thread.is_alive())
    saver.wait()
    whole = time.perf_counter() - start
    deadline = time.perf_counter() + max(1.0, whole / 4)
    alone = work_per_second(lambda: time.perf_counter() > deadline)
    return {"pause_s": pause, "whole_s": whole, "slower_meanwhile": 1 - beside / alone}


def measure(mib: int, place: str, saves: int) -> dict[str, float]:
    model, optimizer = tensors(mib // 2, "weight"), tensors(mib // 2, "moment")
    with tempfile.TemporaryDirectory(dir=place) as folder:
        saver = Saver(Path(folder), RunLock(), keep_last=1, keep_every_nimg=None)
        runs = [one_save(saver, 1 + i, model, optimizer) for i in range(saves)]
    return {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}


def table(document: dict) -> str:
    """Markdown: a row for each size, and a line that says where and how."""
    lines = ["| state | training stops for | until it is on the disk | meanwhile slower by |"]
    lines += ["|---" * 4 + "|"]
    for mib, found in document["by_mib"].items():
        cells = [f"{found['pause_s']:.2f} s", f"{found['whole_s']:.1f} s"]
        lines.append(f"| {mib} MiB | {' | '.join(cells)} | {found['slower_meanwhile']:.0%} |")
    where = f"Measured on {document['machine']}, where {document['load_at_start']:.1f} processes"
    return "\n".join([*lines, "", f"{where} ran besides; medians of {document['saves']} saves."])


def published(page: str, document: dict) -> str:
    """The page with the table of the results between its marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{table(document)}\n{END}{rest.split(END, 1)[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine")
    parser.add_argument("--mib", type=int, nargs="+", default=[256, 1024, 2048])
    parser.add_argument("--saves", type=int, default=3)
    parser.add_argument("--place", default=".", help="a folder on the disk to try")
    arguments = parser.parse_args()
    if arguments.machine is None:
        PAGE.write_text(published(PAGE.read_text(), json.loads(RESULTS.read_text())))
        return
    torch.set_num_threads(1)
    document = {"machine": arguments.machine, "torch": torch.__version__, "saves": arguments.saves}
    document |= {"load_at_start": round(os.getloadavg()[0], 1), "by_mib": {}}
    for mib in arguments.mib:
        document["by_mib"][str(mib)] = measure(mib, arguments.place, arguments.saves)
        print(mib, "MiB", document["by_mib"][str(mib)], flush=True)
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
