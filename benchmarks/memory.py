#!/usr/bin/env python
"""Bytes that each process holds under each engine: weights, gradients, moments, averages, peak.

    python benchmarks/memory.py --machine "NAME OF THE CPU" [--ranks 1 2 4] [--recipes biggan ...]
    python benchmarks/memory.py                   # writes the table of docs/large-networks.md

Networks of published size. Every phase of training is gone through but for the losses: gradients
are there as a backward pass leaves them, then they are reduced, stepped, and averaged. So nothing
here depends on a batch, and activations, which no engine touches, are not counted. Bytes are those
of every tensor that is alive on the rank with most; "weights" are those that are no others:
DeepSpeed's float32 copies of its parts and its buckets are among them. What a process grows by at
the worst moment, as the system says it, has transfers in it. Each engine has processes of its own.
"""

import argparse
import gc
import json
import os
import socket
import traceback
import warnings
from pathlib import Path

import psutil
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from largegan.parallel.alike import gather
from largegan.parallel.choose import choose
from largegan.parallel.engine import Engine
from largegan.parallel.launch import World, connect, disconnect
from largegan.parallel.reduce import BUCKET_BYTES
from largegan.recipe import DataSpec, Progress, Recipe
from largegan.recipes import build

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "large-networks.md"
BEGIN, END = "<!-- from benchmarks/results/memory.json -->", "<!-- end -->"
NETWORKS = {
    "biggan": ("BigGAN-128, ch 96", DataSpec(3, 128, 128, 1000), {}),
    "stylegan2": ("StyleGAN2-256", DataSpec(3, 256, 256), {}),
    "cyclegan": ("CycleGAN-256", DataSpec(3, 256, 256, channels_b=3), {}),
}
RANKS = (1, 2, 4)
ENGINES = ("replicated", "zero1", "zero2", "zero3", "fsdp2")
PRELOADED = ("deepspeed", "torch._inductor.compile_fx", "torch.distributed.fsdp")


def storages(tensors) -> dict[int, int]:
    """Bytes by address: views share theirs; a cut tensor's are those of its local part."""
    kept = (
        t.untyped_storage()
        for t in tensors
        if isinstance(t, Tensor) and not isinstance(t, DTensor) and t.device.type != "meta"
    )
    return {s.data_ptr(): s.nbytes() for s in kept if s.nbytes()}


def alive() -> dict[int, int]:
    with warnings.catch_warnings():  # of names that torch no longer recommends, when looked at
        warnings.simplefilter("ignore")
        return storages(o for o in gc.get_objects() if isinstance(o, Tensor))


def moments(engine: Engine) -> dict[int, int]:
    states = (s for o in engine.optimizers.values() for s in o.state.values())
    return storages(value for fields in states for value in fields.values())


def averages(recipe: Recipe, engine: Engine) -> dict[int, int]:
    whole = [p for m in recipe.modules() if hasattr(m, "follows") for p in m.parameters()]
    return storages([*whole, *(flat for average in engine.averages for flat in average.flats)])


def one_step(recipe: Recipe, engine: Engine, player: str) -> int:
    """Bytes that are alive when a phase's gradients are there."""
    engine.begin(player, second_order=False)
    for p in engine.params[player]:
        p.grad = torch.zeros_like(p)
    within = sum(alive().values())
    engine.finish(player, Progress(), terms={"": torch.zeros(())}, max_grad_norm=None)
    return within


def measure(name: str, engine_name: str, world: World) -> dict[str, float]:
    _, spec, options = NETWORKS[name]
    torch.manual_seed(0)
    before = sum(alive().values())
    recipe = build(name, spec, options)
    engine = Engine(world, choose(engine_name, recipe, world, env={}))
    engine.setup(recipe)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
    at_rest = psutil.Process().memory_info().rss
    held_at_rest = sum(alive().values()) - before
    steps = [one_step(recipe, engine, player) for _ in range(2) for player in recipe.players]
    within = max(steps[len(recipe.players) :])  # when all moments are there
    with engine.after_iteration():
        recipe.after_iteration(Progress(1, 64), 64)
    growth = high_water() - at_rest
    held = {"optimizer": moments(engine), "averages": averages(recipe, engine)}
    held["gradients"] = storages(gradients(engine))
    total = sum(alive().values()) - before
    found = {what: sum(parts.values()) for what, parts in held.items()}
    found["buffers"] = sum(storages(recipe.buffers()).values())
    found["weights"] = total - sum(found.values())
    found |= {"between phases": total, "within a phase": within - before}
    return found | {"at rest": held_at_rest, "growth": growth}


def gradients(engine: Engine):
    for share in engine.shares.values():
        yield from (p.grad for p in share.params)
        yield from (p.grad for p in getattr(share, "stepped", ()))
        zero = getattr(share, "zero", None)
        if zero is not None:
            yield from (p.grad for p in share._stepped())
            yield from (g for group in zero.averaged_gradients.values() for g in group or ())
            yield getattr(zero, "grad_partitions_flat_buffer", None)


def high_water() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def rank(number: int, world: int, port: int, name: str, engine: str, out: Path) -> None:
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), "WORLD_SIZE": str(world)}
    os.environ |= {"LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1"}
    os.environ["MASTER_PORT"] = str(port)
    me = connect(cpu_threads=1)
    found = gather(me, measure(name, engine, me))
    if number == 0:
        out.write_text(json.dumps({key: max(f[key] for f in found) for key in found[0]}))
    disconnect()


def in_processes(world: int, name: str, engine: str) -> dict[str, float]:
    """One start; forked, so that what was imported is there already."""
    out = Path(f"/tmp/largegan-memory-{os.getpid()}.json")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    children = []
    for number in range(world):
        child = os.fork()
        if child == 0:
            try:
                rank(number, world, port, name, engine, out)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    found = json.loads(out.read_text())
    out.unlink()
    return found


COLUMNS = ["weights", "gradients", "optimizer", "averages", "between phases", "within a phase"]


def table(document: dict) -> str:
    """Markdown, in MiB; rows that were not measured are computed, and have no peak."""
    heads = ["networks", "ranks", "engine", *COLUMNS, "peak"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for title, by_ranks in document["bytes"].items():
        players = document["players"][title]
        for ranks in RANKS:
            for engine in ENGINES if ranks > 1 else ENGINES[:1]:
                found = by_ranks.get(str(ranks), {}).get(engine)
                last = "computed" if found is None else f"{peak(found) / 2**20:,.0f}"
                row = found or computed(by_ranks["1"]["replicated"], players, ranks, engine)
                cells = [f"{row[column] / 2**20:,.0f}" for column in COLUMNS]
                lines.append(
                    f"| {title} | {ranks} | `{engine}` | " + " | ".join([*cells, last]) + " |"
                )
    return "\n".join(lines)


def peak(found: dict[str, float]) -> float:
    """Of what is alive at rest and what the process grew by since, or of a phase's tensors."""
    return max(found["within a phase"], found["at rest"] + found["growth"])


def computed(
    whole: dict[str, float], players: dict[str, int], ranks: int, engine: str
) -> dict[str, float]:
    """What a rank should hold by the rules of its engine, without a run.

    `whole` is what one process was measured to hold, `players` the bytes of each one's weights.
    """
    weights, largest = whole["weights"], max(players.values())
    found = {key: whole[key] for key in (*COLUMNS[:4], "buffers")}
    if engine != "replicated":
        found["optimizer"] /= ranks
        found["weights"] += weights / ranks  # the part that is stepped is a copy
    if engine in ("zero3", "fsdp2"):
        found["averages"] /= ranks
        found["weights"] = weights / ranks
    if engine == "zero3":
        found["gradients"] = weights / ranks  # room that DeepSpeed keeps for its part of them
        buckets = sum(min(size, BUCKET_BYTES) for size in players.values())
        found["weights"] += weights / ranks + buckets
    total = sum(found.values())
    of_a_phase = largest + (weights if engine in ("zero3", "fsdp2") else 0)
    return found | {"between phases": total, "within a phase": total + of_a_phase}


def sizes(name: str) -> dict[str, int]:
    """Bytes of each player's weights."""
    _, spec, options = NETWORKS[name]
    with torch.device("meta"):
        players = build(name, spec, options).players
    return {who: 4 * sum(p.numel() for p in player.parameters()) for who, player in players.items()}


def published(page: str, document: dict) -> str:
    """The page with the table of the results between its marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{table(document)}\n{END}{rest.split(END, 1)[1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine")
    parser.add_argument("--ranks", type=int, nargs="+", default=list(RANKS))
    parser.add_argument("--recipes", nargs="+", default=list(NETWORKS))
    arguments = parser.parse_args()
    if arguments.machine is None:
        document = json.loads((RESULTS / "memory.json").read_text())
        PAGE.write_text(published(PAGE.read_text(), document))
        return
    for module in PRELOADED:
        __import__(module)
    torch.set_num_threads(1)
    results = known(arguments.machine)
    for name in arguments.recipes:
        by_ranks = results.setdefault(NETWORKS[name][0], {})
        for ranks in arguments.ranks:
            for engine in ENGINES if ranks > 1 else ENGINES[:1]:
                if engine in by_ranks.get(str(ranks), {}):
                    continue  # of an earlier part
                found = in_processes(ranks, name, engine)
                by_ranks.setdefault(str(ranks), {})[engine] = found
                print(NETWORKS[name][0], ranks, engine, found, flush=True)
                write(arguments.machine, results)


def known(machine: str) -> dict:
    """What earlier parts found on this machine."""
    file = RESULTS / "memory.json"
    before = json.loads(file.read_text()) if file.exists() else {"machine": None}
    same = (before["machine"], before.get("torch")) == (machine, torch.__version__)
    return before["bytes"] if same else {}


def write(machine: str, results: dict) -> None:
    document = {"machine": machine, "torch": torch.__version__, "bytes": results}
    document["players"] = {
        title: sizes(name) for name, (title, *_) in NETWORKS.items() if title in results
    }
    (RESULTS / "memory.json").write_text(json.dumps(document, indent=1) + "\n")
    (RESULTS / "memory.md").write_text(table(document) + "\n")


if __name__ == "__main__":
    main()
