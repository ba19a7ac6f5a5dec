#!/usr/bin/env python
"""How long a checkpoint stops training, against how long it takes to be on the disk.

    python benchmarks/checkpoint_pause.py --machine "NAME OF THE CPU" [--mib 256 1024 2048]

The state is as large as stated, half of it weights and half moments, in tensors of 16 MiB. Three
saves of each size; printed and kept is the median of the pause (a copy to the host), of the whole
(copy, write, fsync, hash), and of what a loop of small tensor operations on the main thread loses
while the file is written beside it.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

from largegan.checkpoint import Checkpoint, on_host
from largegan.run.lock import RunLock
from largegan.run.saver import Saver

RESULTS = Path(__file__).parent / "results"
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


def measure(mib: int, place: str) -> dict[str, float]:
    model, optimizer = tensors(mib // 2, "weight"), tensors(mib // 2, "moment")
    with tempfile.TemporaryDirectory(dir=place) as folder:
        saver = Saver(Path(folder), RunLock(), keep_last=1, keep_every_nimg=None)
        runs = [one_save(saver, nimg, model, optimizer) for nimg in (1, 2, 3)]
    return {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", required=True)
    parser.add_argument("--mib", type=int, nargs="+", default=[256, 1024, 2048])
    parser.add_argument("--place", default=".", help="a folder on the disk to try")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for mib in arguments.mib:
        found[str(mib)] = measure(mib, arguments.place)
        print(mib, "MiB", found[str(mib)], flush=True)
        results = {"machine": arguments.machine, "torch": torch.__version__, "by_mib": found}
        (RESULTS / "checkpoint-pause.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
