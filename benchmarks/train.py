#!/usr/bin/env python
"""What an iteration of training costs: time, images per second and peak memory, a row per setting.

    python benchmarks/train.py --machine "NAME OF THE CPU OR GPU" [--rows biggan128] [--device cuda]

Every row is a fresh process, so that its peak memory is its own: on a GPU what the allocator held
at most, on a CPU the largest resident set of the process (ru_maxrss), of which `base_gib` was there
before the recipe was built. Rows of one group are compared: their processes are all started, warm
up, and then take turns, an iteration each, so that other load on the machine hits all of them
alike; the figures are medians, and `ratio` is the median of the ratios to the group's first row in
the same round. On a CPU, seconds are those of the processor (one thread), which other load disturbs
little; on a GPU they are those of the clock, after synchronization. There a row gives its memory
back after every turn, for the next one, and begins each with an iteration that does not count.

Each row also says where its time goes: `phases`, the seconds of each phase by itself (lazy ones as
when they come), and `convolutions` and `filters`, the shares of all phases' time in convolutions
and in FIR filters, by the profiler.

The data are random and in memory: reading is measured by data.py. Results go to
results/train-MACHINE.json and .md.
"""

import argparse
import json
import re
import resource
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One setting. `options` are the recipe's; `resolution` and `classes` those of the data."""

    group: str
    name: str
    recipe: str
    resolution: int
    batch: int
    classes: int = 0
    options: dict = field(default_factory=dict)
    precision: str = "fp32"
    compiled: bool = False
    deterministic: bool = False
    gpu_only: bool = False
    two_domains: bool = False


def biggan128(channels: int, *, batch: int, gpu_only: bool = False) -> list[Row]:
    """BigGAN-128 as published at a width: folded up-sampling against plain, and on a GPU bf16
    against fp32 and compiled against eager."""
    group = f"biggan128-ch{channels}"
    common = {
        "group": group,
        "recipe": "biggan",
        "resolution": 128,
        "batch": batch,
        "classes": 1000,
    }
    width = {"g_channels": channels, "d_channels": channels}
    return [
        Row(name="plain", options=width | {"fold": False}, gpu_only=gpu_only, **common),
        Row(name="folded", options=width | {"fold": True}, gpu_only=gpu_only, **common),
        Row(name="folded bf16", options=width, precision="bf16", gpu_only=True, **common),
        Row(name="folded compiled", options=width, compiled=True, gpu_only=True, **common),
        Row(
            name="folded bf16 compiled",
            options=width,
            precision="bf16",
            compiled=True,
            gpu_only=True,
            **common,
        ),
    ]


def cyclegan256(*, batch: int) -> list[Row]:
    """CycleGAN as published: ResNet-9, 64 wide, 256 pixels; and with blur filters for strides."""
    common = {"group": "cyclegan256", "recipe": "cyclegan", "resolution": 256, "batch": batch}
    common["two_domains"] = True
    return [
        Row(name="as published", **common),
        Row(name="antialias", options={"antialias": True}, **common),
        Row(name="bf16", precision="bf16", gpu_only=True, **common),
        Row(name="compiled", compiled=True, gpu_only=True, **common),
        Row(name="bf16 compiled", precision="bf16", compiled=True, gpu_only=True, **common),
    ]


def stylegan3(resolution: int, *, batch: int, options: dict) -> list[Row]:
    """T and R, R1 by second derivatives and by differences; in full width where a GPU has room."""
    common = {"group": f"stylegan3-{resolution}", "recipe": "stylegan3", "resolution": resolution}
    common["batch"] = batch
    options = options | {"augment": "none", "mbstd_group": min(4, batch)}
    kinds = {"T": {}, "R": {"configuration": "r"}}
    kinds["T, R1 by differences"] = {"penalty": "finite_difference"}
    rows = [Row(name=name, options=options | own, **common) for name, own in kinds.items()]
    for name in ("T", "R"):
        coarse = {"name": f"{name} bf16", "precision": "bf16", "gpu_only": True}
        rows.append(Row(options=options | kinds[name], **coarse, **common))
    return rows


def r3gan(resolution: int, *, batch: int, options: dict) -> list[Row]:
    """R1 and R2 by second derivatives and by differences, which may also compile and use bf16."""
    common = {"group": f"r3gan-{resolution}", "recipe": "r3gan", "resolution": resolution}
    common["batch"] = batch
    estimated = options | {"penalty": "finite_difference"}
    coarse = {"precision": "bf16", "gpu_only": True}
    return [
        Row(name="exact penalties", options=options, **common),
        Row(name="by differences", options=estimated, **common),
        Row(name="by differences, compiled", options=estimated, compiled=True, **coarse, **common),
    ]


NARROW = {"channel_base": 4096, "channel_max": 128}
# name: rows for a CPU (small batches) and for a GPU. New families add their rows here.
ROWS = {
    "cpu": [
        *biggan128(32, batch=4),
        *biggan128(96, batch=2),
        *cyclegan256(batch=1),
        *stylegan3(64, batch=4, options=NARROW | {"d_channel_base": 4096, "d_channel_max": 128}),
        *r3gan(32, batch=8, options={"channel_base": 6144, "channel_max": 192}),
    ],
    "cuda": [
        *biggan128(32, batch=64),
        *biggan128(96, batch=64),
        *cyclegan256(batch=1),
        *stylegan3(256, batch=32, options={}),
        *r3gan(32, batch=256, options={}),
        *r3gan(256, batch=32, options={}),
    ],
}


class Runner:
    """A process that trains one row when told to: `go` on its input, a JSON line as the answer."""

    def __init__(self, row: Row, device: str):
        self.row = row
        words = [sys.executable, __file__, "--serve", json.dumps(asdict(row)), "--device", device]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, word: str) -> dict:
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.row.group}, {self.row.name}: the process ended; see above")
        return json.loads(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def serve(row: Row, device: str) -> None:
    """The other side of `Runner`: builds the trainer, then an iteration for every `go`."""
    import torch

    torch.set_num_threads(1)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trainer = build(row, device)
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    for line in sys.stdin:
        if line.strip() == "memory":
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            answer = {"peak_gib": peak / 2**20, "base_gib": base / 2**20}
            if cuda:
                answer = {"peak_gib": torch.cuda.max_memory_allocated() / 2**30}
        elif line.strip() == "anatomy":
            answer = anatomy(trainer, cuda)
        else:
            answer = {"seconds": timed(trainer, cuda)}
        print(json.dumps(answer), flush=True)


def timed(trainer, cuda: bool) -> float:
    """Seconds of one iteration: all phases, the optimizer steps, the moving average."""
    import torch

    if not cuda:
        start = time.process_time()
        trainer.iteration()
        return time.process_time() - start
    trainer.iteration()
    torch.cuda.synchronize()
    start = time.perf_counter()
    trainer.iteration()
    torch.cuda.synchronize()
    spent = time.perf_counter() - start
    torch.cuda.empty_cache()
    return spent


def anatomy(trainer, cuda: bool) -> dict:
    """Seconds of each phase, and the shares of convolutions and of filters in all of them."""
    import torch

    micro, seconds = trainer.next_micro_batches(), {}
    with torch.profiler.profile() as profile:
        for index, phase in enumerate(trainer.recipe.phases):
            start = time.perf_counter() if cuda else time.process_time()
            trainer.run_phase(phase, micro, (index, 0))
            end = time.perf_counter() if cuda else time.process_time()
            seconds[phase.name] = end - start
    spent = {"convolutions": 0.0, "filters": 0.0}
    total = 0.0
    for event in profile.events():
        kind = kind_of(event)
        mine = event.self_device_time_total if cuda else event.self_cpu_time_total
        total += mine
        if kind:
            spent[kind] += mine
    return {"phases": seconds} | {kind: time / max(total, 1e-9) for kind, time in spent.items()}


def kind_of(event) -> str | None:
    """Whether an operator, or one that called it, is a filter or else a convolution."""
    convolves = False
    while event is not None:
        if event.name.startswith("largegan::fir") or event.name == "largegan::filtered_lrelu":
            return "filters"
        convolves = convolves or "convolution" in event.name
        event = event.cpu_parent
    return "convolutions" if convolves else None


def build(row: Row, device: str):
    """The trainer of a one-process run on random images."""
    import torch

    from largegan.data.transforms import to_device
    from largegan.parallel.engine import Engine
    from largegan.parallel.launch import World
    from largegan.recipe import DataSpec
    from largegan.recipes import build
    from largegan.run.arithmetic import choose_arithmetic
    from largegan.run.compiling import CompiledNetworks
    from largegan.trainer import Trainer

    torch.manual_seed(0)
    choose_arithmetic(torch.device(device), row.precision, deterministic=row.deterministic)
    domain_b = {"channels_b": 3} if row.two_domains else {}
    spec = DataSpec(3, row.resolution, row.resolution, row.classes, **domain_b)
    # The time of a step does not depend on the start, and an orthogonal one takes minutes.
    options = dict(row.options) | ({"start": "normal"} if "biggan" in row.recipe else {})
    recipe = build(row.recipe, spec, options)
    engine = Engine(World(0, 1, torch.device(device)))
    engine.setup(recipe)
    return Trainer(
        recipe,
        engine,
        RandomImages(row),
        first_order=CompiledNetworks(recipe) if row.compiled else nullcontext,
        to_device=to_device,
        batch_size=row.batch,
        micro_batch_size=row.batch,
        precision=row.precision,
    )


class RandomImages:
    """The trainer's stream: uint8 images and labels that are already in memory."""

    def __init__(self, row: Row):
        import torch

        shape = (row.batch, 3, row.resolution, row.resolution)
        names = ("image_a", "image_b") if row.two_domains else ("image",)
        self.batch = {name: torch.randint(0, 256, shape, dtype=torch.uint8) for name in names}
        if row.classes:
            self.batch["label"] = torch.randint(row.classes, (row.batch,))

    def next_batch(self) -> list[dict]:
        return [dict(self.batch)]


def measure(rows: list[Row], device: str, *, warmup: int, rounds: int) -> list[dict]:
    """A group: its rows take turns; see the top of the file."""
    runners = [Runner(row, device) for row in rows]
    seconds: list[list[float]] = [[] for _ in rows]
    for number in range(warmup + rounds):
        order = list(enumerate(runners))
        for i, runner in order if number % 2 else order[::-1]:
            spent = runner.ask("go")["seconds"]
            if number >= warmup:
                seconds[i].append(spent)
    results = []
    for row, runner, spent in zip(rows, runners, seconds, strict=True):
        median = statistics.median(spent)
        ratios = [mine / first for mine, first in zip(spent, seconds[0], strict=True)]
        results.append(
            asdict(row)
            | runner.ask("memory")
            | runner.ask("anatomy")
            | {
                "s_per_iteration": median,
                "img_per_s": row.batch / median,
                "ratio": statistics.median(ratios),
                "rounds": rounds,
            }
        )
        runner.close()
    return results


def table(results: list[dict]) -> str:
    lines = [
        "| group | row | batch | s/iteration | images/s | ratio | peak GiB | conv | FIR | phases |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in results:
        shares = [f"{100 * r[k]:.0f} %" if k in r else "" for k in ("convolutions", "filters")]
        phases = ", ".join(f"{name} {s:.2f}" for name, s in r.get("phases", {}).items())
        lines.append(
            f"| {r['group']} | {r['name']} | {r['batch']} | {r['s_per_iteration']:.2f} | "
            f"{r['img_per_s']:.2f} | {r['ratio']:.2f} | {r['peak_gib']:.2f} | "
            f"{' | '.join(shares)} | {phases} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--machine", help="what it ran on, such as 'AMD EPYC, 2 cores, shared'")
    add("--device", default="cpu", help="cpu (default) or cuda")
    add("--rows", default="", help="groups whose name contains this (default: all)")
    add("--warmup", type=int, default=2, help="rounds that do not count (default: 2)")
    add("--rounds", type=int, default=5, help="rounds that count (default: 5)")
    add("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(Row(**json.loads(arguments.serve)), arguments.device)
    if not arguments.machine:
        parser.error("give --machine: figures without their machine mean nothing")
    kind = arguments.device.split(":")[0]
    rows = [r for r in ROWS[kind] if arguments.rows in r.group]
    rows = [r for r in rows if kind == "cuda" or not r.gpu_only]
    results = []
    for group in dict.fromkeys(row.group for row in rows):
        found = measure(
            [row for row in rows if row.group == group],
            arguments.device,
            warmup=arguments.warmup,
            rounds=arguments.rounds,
        )
        print(table(found), flush=True)
        results += found
    save(arguments.machine, arguments.device, results)


def save(machine: str, device: str, results: list[dict]) -> None:
    """Adds to what is there for this machine; a group that was measured again is replaced."""
    import torch

    path = RESULTS / f"train-{re.sub(r'[^a-z0-9]+', '-', machine.lower()).strip('-')}.json"
    kept = json.loads(path.read_text())["results"] if path.exists() else []
    groups = {r["group"] for r in results}
    results = [r for r in kept if r["group"] not in groups] + results
    about = {"machine": machine, "device": device, "torch": torch.__version__}
    path.write_text(json.dumps(about | {"results": results}, indent=1) + "\n")
    path.with_suffix(".md").write_text(f"# {machine}\n\n{table(results)}")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
