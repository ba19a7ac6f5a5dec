#!/usr/bin/env python
"""`train.cuda_graphs` on a GPU: iterations as they are, recorded, and compiled, in turns.

    python benchmarks/cuda_graphs.py [--rows cyclegan] [--compiled]     # needs a GPU
    python benchmarks/cuda_graphs.py --device cpu                       # only whether it builds

All variants of a row live in one process and take turns, each for as many iterations as it takes
for every lazy phase to come once; before that every phase has run often enough to be recorded.
`ms` is the median over rounds of an iteration's mean time by the clock, after synchronization;
`ratio` is the median of the plain variant's time over this one's in the same round. Images are
random and in memory. Results go to results/cuda-graphs-NAME.json and .md.
"""

import argparse
import json
import re
import statistics
import time
from pathlib import Path

import torch
from train import Row, build

from largegan.run.replays import PROOFS, WARM, make_replays

RESULTS = Path(__file__).parent / "results"
BF16 = {"precision": "bf16"}
ROWS = [
    Row("dcgan-64", "", "dcgan", 64, 64),
    Row("wgan_gp-64", "", "wgan_gp", 64, 64),
    Row("stylegan2-64", "", "stylegan2", 64, 32, options={"augment": "none"}, **BF16),
    Row("stylegan2-256", "", "stylegan2", 256, 32, options={"augment": "none"}, **BF16),
    Row("stylegan2-256, ADA", "", "stylegan2", 256, 32, options={"ada_p": 0.3}, **BF16),
    Row("dcgan-64, bf16", "", "dcgan", 64, 64, **BF16),
    Row("biggan-128", "", "biggan", 128, 64, 1000, **BF16),
    Row("pix2pix-256", "", "pix2pix", 256, 1, two_domains=True, **BF16),
    Row("cyclegan-256", "", "cyclegan", 256, 1, two_domains=True, **BF16),
    Row("cut-256", "", "cut", 256, 1, two_domains=True, **BF16),
    Row("r3gan-32", "", "r3gan", 32, 64, **BF16),
]
VARIANTS = {"plain": (False, False), "graphs": (False, True)}
COMPILED = {"compiled": (True, False), "compiled, graphs": (True, True)}


def trainer_of(row: Row, *, compiled: bool, graphs: bool, device: str, said: list[str]):
    """Ready to be timed: every phase has run so often that it is recorded."""
    trainer = build(Row(**row.__dict__ | {"compiled": compiled}), device)
    if graphs:
        trainer.replays = make_replays(trainer.engine, said.append)
    for index, phase in enumerate(trainer.recipe.phases):
        for _ in range(WARM + PROOFS + 3):
            micro = trainer.next_micro_batches()
            if not phase.fresh:  # what earlier phases leave for it
                for before, earlier in enumerate(trainer.recipe.phases[:index]):
                    trainer.run_phase(earlier, micro, (before, 0))
            trainer.run_phase(phase, micro, (index, 0))
    return trainer


def cycle_ms(trainer, device: str) -> float:
    """An iteration's mean time over a cycle of the lazy phases."""
    count = max(phase.every for phase in trainer.recipe.phases)
    wait(device)
    start = time.perf_counter()
    for _ in range(max(count, 4)):
        trainer.iteration()
    wait(device)
    return (time.perf_counter() - start) / max(count, 4) * 1e3


def wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def measure(row: Row, variants: dict, device: str, rounds: int) -> list[dict]:
    trainers, found = {}, {}
    for name, (compiled, graphs) in variants.items():
        said: list[str] = []
        trainers[name] = trainer_of(row, compiled=compiled, graphs=graphs, device=device, said=said)
        found[name] = {"row": row.group, "batch": row.batch, "variant": name}
        found[name]["left_as_they_are"] = [line for line in said if "not recorded" in line]
    times: dict[str, list[float]] = {name: [] for name in variants}
    for trainer in trainers.values():
        cycle_ms(trainer, device)
    for number in range(rounds):
        for name in list(variants)[:: 1 if number % 2 else -1]:
            times[name].append(cycle_ms(trainers[name], device))
    for name, mine in times.items():
        ratios = [first / own for first, own in zip(times["plain"], mine, strict=True)]
        ms = statistics.median(mine)
        found[name] |= {"ms": ms, "images_per_s": row.batch / ms * 1e3}
        found[name] |= {"ratio": statistics.median(ratios), "lowest": min(ratios)}
        found[name]["highest"] = max(ratios)
    return list(found.values())


def table(results: list[dict]) -> str:
    lines = [
        "| row | batch | variant | ms | images/s | ratio | as they are |",
        "|---" * 7 + "|",
    ]
    for r in results:
        if "failed" in r:
            lines.append(f"| {r['row']} | | failed: {r['failed']} |" + " |" * 4)
            continue
        spread = f"{r['ratio']:.2f} ({r['lowest']:.2f} to {r['highest']:.2f})"
        lines.append(
            f"| {r['row']} | {r['batch']} | {r['variant']} | {r['ms']:.2f} | "
            f"{r['images_per_s']:.0f} | {spread} | "
            f"{'; '.join(r['left_as_they_are'])} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", default="cuda", help="cuda (default), or cpu")
    add("--rows", default="", help="rows whose name contains one of these words, by commas")
    add("--compiled", action="store_true", help="compiled variants, too: minutes more")
    add("--rounds", type=int, default=5, help="rounds that count (default: 5)")
    add("--out", type=Path, default=RESULTS, help="folder of the results")
    arguments = parser.parse_args()
    cpu = arguments.device == "cpu"
    machine = "CPU" if cpu else torch.cuda.get_device_name()
    variants = {"plain": VARIANTS["plain"]} if cpu else dict(VARIANTS)
    variants |= COMPILED if arguments.compiled and not cpu else {}
    results = []
    for row in ROWS:
        if not any(word in row.group for word in arguments.rows.split(",")):
            continue
        try:
            results += measure(row, variants, arguments.device, arguments.rounds)
        except torch.OutOfMemoryError as e:
            results.append({"row": row.group, "failed": str(e).splitlines()[0]})
        if not cpu:
            torch.cuda.empty_cache()
        print(table(results[-len(variants) :]), flush=True)
        if not cpu:
            save(machine, arguments.out, results)


def save(machine: str, folder: Path, results: list[dict]) -> None:
    slug = re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-")
    path = folder / f"cuda-graphs-{slug}.json"
    about = {"machine": machine, "torch": torch.__version__, "cuda": torch.version.cuda}
    path.write_text(json.dumps(about | {"rows": results}, indent=1) + "\n")
    path.with_suffix(".md").write_text(f"# {machine}\n\n{table(results)}")


if __name__ == "__main__":
    main()
