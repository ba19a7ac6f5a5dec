#!/usr/bin/env python
"""An iteration of CycleGAN, pix2pix and CUT at 256 pixels beside the code of their papers.

    python benchmarks/translation_training.py --machine "NAME" --peer FOLDER [--rows cyclegan]

FOLDER is a checkout of the peer: github.com/taesungp/contrastive-unpaired-translation has `cut`
and `cycle_gan`; for `pix2pix` its `models/` needs that file of
github.com/junyanz/pytorch-CycleGAN-and-pix2pix. Nothing of it is copied: its own model class is
built from its own options and its own `optimize_parameters` is timed, on random images in memory.

Both sides run in processes of their own, warm up, and take turns, an iteration each, so that
other load hits both alike; seconds are the processor's. `ratio` is the median of the peer's
seconds over ours in the same round (above 1: ours is faster). Peak memory is the largest resident
set. Results go to results/translation-training-MACHINE.json.
"""

import argparse
import json
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
# Our recipe: the peer's model, and the options that make it the paper's.
PEERS = {
    "cyclegan": ["cycle_gan", "--no_antialias", "--no_antialias_up", "--init_type", "normal"],
    "pix2pix": ["pix2pix", "--dataset_mode", "unaligned", "--init_type", "normal"],
    "cut": ["cut"],
}


class Side:
    """A process that trains an iteration for every line it gets, and answers with JSON."""

    def __init__(self, side: str, row: str, arguments: argparse.Namespace):
        words = [sys.executable, __file__, "--serve", side, "--rows", row]
        words += ["--peer", str(arguments.peer), "--threads", str(arguments.threads)]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self) -> dict:
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("{"):  # the peer prints while it builds
                return json.loads(line)
        raise SystemExit("a side has ended: see above")

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def serve(arguments: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    make = {"ours": ours, "peer": peer}[arguments.serve]
    iterate = make(arguments.rows, arguments)
    for _ in sys.stdin:
        start = time.process_time()
        iterate()
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(json.dumps({"seconds": seconds, "peak_mib": peak}), flush=True)


def ours(row: str, arguments: argparse.Namespace):
    import torch

    from largegan.data.transforms import to_device
    from largegan.parallel.engine import Engine
    from largegan.parallel.launch import World
    from largegan.recipe import DataSpec
    from largegan.recipes import build
    from largegan.trainer import Trainer

    class Images:
        """The stream: one pair of images that is already in memory."""

        def __init__(self):
            shape = (1, 3, 256, 256)
            names = ("image_a", "image_b")
            self.batch = {n: torch.randint(0, 256, shape, dtype=torch.uint8) for n in names}

        def next_batch(self) -> list[dict]:
            return [dict(self.batch)]

    recipe = build(row, DataSpec(3, 256, 256, channels_b=3), {})
    engine = Engine(World(0, 1, torch.device("cpu")))
    engine.setup(recipe)
    trainer = Trainer(
        recipe, engine, Images(), to_device=to_device, batch_size=1, micro_batch_size=1
    )
    return trainer.iteration


def peer(row: str, arguments: argparse.Namespace):
    import torch

    sys.path.insert(0, str(arguments.peer))
    sys.argv = ["train.py", "--gpu_ids", "-1", "--dataroot", ".", "--model", *PEERS[row]]
    sys.argv += ["--checkpoints_dir", "/tmp", "--name", "largegan-benchmark"]
    from models import create_model
    from options.train_options import TrainOptions

    options = TrainOptions().parse()
    options.amp = False  # its CycleGAN reads this, and no option sets it
    model = create_model(options)
    names = {"A_paths": [""], "B_paths": [""]}
    batch = {side: torch.rand(1, 3, 256, 256) * 2 - 1 for side in "AB"} | names
    if row == "cut":  # its projections take their sizes from a first batch
        model.data_dependent_initialize(batch)
    model.setup(options)

    def iterate() -> None:
        model.set_input(batch)
        model.optimize_parameters()

    return iterate


def measure(row: str, arguments: argparse.Namespace) -> dict:
    sides = {side: Side(side, row, arguments) for side in ("ours", "peer")}
    answers = {side: [] for side in sides}
    for number in range(arguments.warmup + arguments.rounds):
        for side in list(sides) if number % 2 else list(sides)[::-1]:
            answer = sides[side].ask()
            if number >= arguments.warmup:
                answers[side].append(answer)
    for side in sides.values():
        side.close()
    seconds = {side: [a["seconds"] for a in answers[side]] for side in sides}
    ratios = [p / o for o, p in zip(seconds["ours"], seconds["peer"], strict=True)]
    return {
        "row": row,
        "ratio": statistics.median(ratios),
        "ratios": [min(ratios), max(ratios)],
        "seconds": {side: statistics.median(values) for side, values in seconds.items()},
        "peak_mib": {side: answers[side][-1]["peak_mib"] for side in sides},
        "rounds": arguments.rounds,
        "threads": arguments.threads,
    }


def save(machine: str, results: list[dict]) -> None:
    import torch

    name = re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-")
    path = RESULTS / f"translation-training-{name}.json"
    kept = json.loads(path.read_text())["results"] if path.exists() else []
    rows = {r["row"] for r in results}
    results = [r for r in kept if r["row"] not in rows] + results
    about = {"machine": machine, "torch": torch.__version__}
    path.write_text(json.dumps(about | {"results": results}, indent=1) + "\n")
    print(f"written to {path}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--machine", help="what it ran on, such as 'AMD EPYC, 2 cores, shared'")
    add("--peer", type=Path, required=True, help="folder of the peer's checkout")
    add("--rows", default="", help="recipes whose name contains this (default: all)")
    add("--threads", type=int, default=1, help="threads of each side (default: 1)")
    add("--warmup", type=int, default=2, help="rounds that do not count (default: 2)")
    add("--rounds", type=int, default=7, help="rounds that count (default: 7)")
    add("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments)
    if not arguments.machine:
        parser.error("give --machine: figures without their machine mean nothing")
    results = []
    for row in [r for r in PEERS if arguments.rows in r]:
        results.append(measure(row, arguments))
        print(json.dumps(results[-1]), flush=True)
    save(arguments.machine, results)


if __name__ == "__main__":
    main()
