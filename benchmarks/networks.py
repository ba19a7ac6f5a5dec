"""Part of ops.py: whole iterations, and each phase's loss and gradients also as a CUDA graph.

`iteration` is the trainer's own, optimizers and averages included, over as many iterations as it
takes for every lazy phase to come once. `losses and gradients` is the sum of the phases without
the rest, each as often as it comes: the part that can be captured as a graph and replayed.
"""

import time
from contextlib import nullcontext
from typing import NamedTuple

import torch
from train import Row, build

from largegan.ops.runtime import backend

TOP = 15


class Network(NamedTuple):
    row: Row
    tiny: Row


SMALL_STYLEGAN3 = {"augment": "none", "channel_base": 64, "d_channel_base": 64, "layers": 3}

NETWORKS = {
    "stylegan2-256": Network(
        Row("", "", "stylegan2", 256, 32, 0, {"augment": "none"}, "bf16"),
        Row("", "", "stylegan2", 16, 4, 0, {"augment": "none", "channel_base": 64}, "bf16"),
    ),
    "stylegan3-t-256": Network(
        Row("", "", "stylegan3", 256, 32, 0, {"augment": "none"}, "bf16"),
        Row("", "", "stylegan3", 16, 4, 0, SMALL_STYLEGAN3, "bf16"),
    ),
    "stylegan3-r-256": Network(
        Row("", "", "stylegan3", 256, 32, 0, {"augment": "none", "configuration": "r"}, "bf16"),
        Row("", "", "stylegan3", 16, 4, 0, SMALL_STYLEGAN3 | {"configuration": "r"}, "bf16"),
    ),
    "r3gan-256": Network(
        Row("", "", "r3gan", 256, 32, 0, {}, "bf16"),
        Row("", "", "r3gan", 16, 4, 0, {"channel_base": 256, "blocks": 1}, "bf16"),
    ),
    "biggan-128": Network(
        Row("", "", "biggan", 128, 64, 1000, {}, "bf16"),
        Row("", "", "biggan", 16, 4, 3, {"g_channels": 2, "d_channels": 2}, "bf16"),
    ),
}


def measure(bench, name: str, variants: tuple[str, ...]) -> None:
    """Rows of one network; what does not fit or cannot be captured says so."""
    for variant in variants:
        bench.section(f"{name}, {variant}", lambda v=variant: rows(bench, name, v))


def rows(bench, name: str, variant: str) -> None:
    if variant == "graphed" and not bench.cuda:
        bench.add(name, variant, "losses and gradients", failed="no CUDA graphs on a CPU")
        return
    row = NETWORKS[name].row if bench.cuda else NETWORKS[name].tiny
    row = Row(**row.__dict__ | {"compiled": variant == "compiled" and bench.cuda})
    with backend.using("eager" if variant in ("eager", "compiled") else "require"):
        trainer = build(row, str(bench.device))
        if variant != "graphed":
            iterations(bench, name, variant, trainer, row.batch)
        total = 0.0
        for i, phase in enumerate(trainer.recipe.phases):
            ms = phase_ms(bench, trainer, i, graphed=variant == "graphed")
            bench.add(name, variant, f"phase {phase.name}", ms=ms, every=phase.every)
            total += ms * phase.repeat / phase.every
        bench.add(name, variant, "losses and gradients", ms=total)


def iterations(bench, name: str, variant: str, trainer, batch: int) -> None:
    """The mean over whole cycles of the lazy phases, and the longest kernels of one of them."""
    cycle = max(phase.every for phase in trainer.recipe.phases) if bench.cuda else 1
    if bench.cuda:
        torch.cuda.reset_peak_memory_stats()  # of the network before
    for _ in range(max(2, cycle) if bench.cuda else 1):  # every phase has been compiled after this
        trainer.iteration()
    wait(bench)
    start = time.perf_counter()
    for _ in range(cycle):
        trainer.iteration()
    wait(bench)
    ms = (time.perf_counter() - start) / cycle * 1e3
    figures = {"ms": ms, "images_per_s": batch / ms * 1e3}
    if bench.cuda:
        figures["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        torch.cuda.reset_peak_memory_stats()
    bench.add(name, variant, "iteration", **figures, kernels=longest(bench, trainer))


def longest(bench, trainer) -> list[dict]:
    """Where one iteration's time goes: kernels on a GPU, operators on a CPU."""
    with torch.profiler.profile() as profile:
        trainer.iteration()
        wait(bench)
    kind = "self_device_time_total" if bench.cuda else "self_cpu_time_total"
    events = sorted(profile.key_averages(), key=lambda e: -getattr(e, kind))[:TOP]
    total = sum(getattr(e, kind) for e in profile.key_averages()) or 1.0
    return [
        {
            "kernel": e.key[:90],
            "ms": getattr(e, kind) / 1e3,
            "percent": 100 * getattr(e, kind) / total,
            "calls": e.count,
        }
        for e in events
    ]


def phase_ms(bench, trainer, index: int, *, graphed: bool) -> float:
    """Loss and gradients of a phase."""
    phase, batch = trainer.recipe.phases[index], trainer.next_micro_batches()[0]
    trainer.engine.begin(phase.player, second_order=phase.second_order)
    trainer.reseed(index, 0, 0)
    params = list(trainer.recipe.players[phase.player].parameters())

    def step() -> None:
        for p in params:
            p.grad = None
        # As the trainer does.
        first = nullcontext if phase.second_order else trainer.first_order
        with trainer.autocast(phase), first():
            loss = sum(phase.loss(batch, trainer.at).values())
        loss.backward()

    return bench.ms(captured(step) if graphed else step)


def captured(step):
    """A graph of `step`, to be replayed; it has run before, so that all kernels are loaded."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def wait(bench) -> None:
    if bench.cuda:
        torch.cuda.synchronize()
