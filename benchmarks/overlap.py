#!/usr/bin/env python
"""Gradients that leave while backward runs, against gradients that leave after it; and 1, 2, 4
processes against each other on the same batch.

    python benchmarks/overlap.py --machine "NAME OF THE CPU" [--worlds 1 2 4]
    python benchmarks/overlap.py --machine "NAME OF THE CPU" --parts

Processes over gloo on this machine, one thread each, WGAN-GP's networks. The two ways take turns
within one run, so that other load disturbs both. Printed per way: seconds of an iteration (median
of rank 0), and of each phase the bytes that travel, when each bucket left (fraction of the
backward pass that had been done), and how long was waited after backward. Weights are compared
bit by bit: the two ways must give the same.

`--parts` is one process, in CPU time: what smaller parts of the batch and the optimizer's steps,
which each process takes whole, cost by themselves.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import torch

from largegan.parallel.engine import Engine
from largegan.parallel.launch import World, connect, disconnect, leave
from largegan.parallel.replicated import Replicated
from largegan.recipe import DataSpec
from largegan.recipes.wgan_gp import WGANGP, WGANGPOptions
from largegan.trainer import Trainer

RESULTS = Path(__file__).parent / "results"


class Images:
    """This rank's share of fixed random images."""

    def __init__(self, size: int, batch: int):
        random = torch.Generator().manual_seed(0)
        self.batch = [{"image": torch.rand(batch, 3, size, size, generator=random) * 2 - 1}]

    def next_batch(self) -> list[dict]:
        return self.batch

    def state_dict(self) -> dict:
        return {}


def build(world, arguments, *, overlap: bool) -> Trainer:
    torch.manual_seed(0)
    recipe = WGANGP(
        DataSpec(3, 32, 32),
        WGANGPOptions(
            z_dim=64,
            n_critic=1,
            g_channels=arguments.channels,
            d_channels=arguments.channels,
        ),
    )
    size = arguments.bucket_kib * 1024
    share = partial(Replicated, overlap=overlap, bucket_bytes=size)
    engine = Engine(world, dict.fromkeys(recipe.players, share))
    engine.setup(recipe)
    micro = arguments.batch // world.size
    return Trainer(
        recipe, engine, Images(32, micro), to_device=lambda batch, device: batch,
        batch_size=arguments.batch, micro_batch_size=micro,
    )  # fmt: skip


def rank(arguments) -> None:
    """One process: both ways in turn; rank 0 prints JSON."""
    world = connect()
    torch.set_num_threads(1)
    ways = {"overlap": True, "after": False} if world.size > 1 else {"alone": False}
    trainers = {name: build(world, arguments, overlap=on) for name, on in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for turn in range(arguments.rounds + 2):
        for name in list(trainers)[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            trainers[name].iteration()
            if turn >= 2:
                seconds[name].append(time.perf_counter() - start)
    result = {"world": world.size, "seconds": {n: statistics.median(s) for n, s in seconds.items()}}
    if world.size > 1:
        result["ratio"] = statistics.median(
            a / b for a, b in zip(seconds["overlap"], seconds["after"], strict=True)
        )
        result["phases"] = {n: phases(t) for n, t in trainers.items()}
        states = [t.engine.model_state() for t in trainers.values()]
        result["same_bits"] = all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    if world.rank == 0:
        print("RESULT", json.dumps(result), flush=True)
    disconnect()


def phases(trainer: Trainer) -> dict:
    """What the last phase of each player did with its gradients."""
    found = {}
    for player, share in trainer.engine.shares.items():
        timing = share.reduction.timing
        found[player] = {
            "bytes": sum(size for _, size in timing.launches),
            "left_at": [round(at / timing.backward_ended, 3) for at, _ in timing.launches],
            "waited_after_backward": round(
                (timing.landed - timing.backward_ended) / timing.backward_ended, 3
            ),
        }
    return found


def parts(arguments) -> dict:
    """CPU seconds of one batch in 1, 2 and 4 iterations, in turn; and of the optimizers' steps."""
    torch.set_num_threads(1)
    alone, trainers = World(0, 1, torch.device("cpu")), {}
    for n in (1, 2, 4):
        setting = argparse.Namespace(**{**vars(arguments), "batch": arguments.batch // n})
        trainers[n] = build(alone, setting, overlap=False)
    seconds: dict[int, list[float]] = {n: [] for n in trainers}
    for turn in range(arguments.rounds + 1):
        for n in list(trainers)[:: 1 if turn % 2 else -1]:
            start = time.process_time()
            for _ in range(n):
                trainers[n].iteration()
            if turn:
                seconds[n].append(time.process_time() - start)
    steps = []
    for _ in range(arguments.rounds):
        start = time.process_time()
        for optimizer in trainers[1].engine.optimizers.values():
            optimizer.step()
        steps.append(time.process_time() - start)
    whole = {n: statistics.median(found) for n, found in seconds.items()}
    return {
        "cpu_seconds": whole,
        "against_whole": {n: round(found / whole[1], 3) for n, found in whole.items()},
        "optimizer_steps": statistics.median(steps),
    }


def launch(world: int, words: list[str]) -> dict:
    """`world` processes of this program; what rank 0 found."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    processes = []
    for r in range(world):
        env = os.environ | {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
        if world > 1:
            env |= {"MASTER_PORT": port, "RANK": str(r), "LOCAL_RANK": str(r)}
            env |= {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
        command = [sys.executable, __file__, *words, "--rank"]
        processes.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True))
    first, *_ = [p.communicate()[0] for p in processes]
    found = next(line for line in first.splitlines() if line.startswith("RESULT"))
    return json.loads(found.removeprefix("RESULT"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine", required=True, help="what to call this machine in the results")
    parser.add_argument("--worlds", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--bucket-kib", type=int, default=512, help="networks here are small")
    parser.add_argument("--parts", action="store_true", help="one process: where time could go")
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.rank:
        rank(arguments)
        leave(0)
    if arguments.parts:
        results = parts(arguments)
    else:
        results = [launch(world, sys.argv[1:]) for world in arguments.worlds]
    document = {
        "machine": arguments.machine,
        "cores": len(os.sched_getaffinity(0)),
        "torch": torch.__version__,
        "setting": {k: v for k, v in vars(arguments).items() if k not in ("machine", "rank")},
        "results": results,
    }
    print(json.dumps(document, indent=1))
    name = "-".join(arguments.machine.lower().replace(",", "").split())
    kind = "overlap-parts" if arguments.parts else "overlap"
    (RESULTS / f"{kind}-{name}.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
