"""What each rank does where networks are compiled: the product's cells, with `train.compile`."""

import json
from pathlib import Path

import torch

from largegan.parallel.launch import connect, disconnect
from largegan.run import compiling
from tests.parallel.product import run_cell


def main(arguments: list[str]) -> None:
    """`FOLDER ENGINES RECIPES`, separated by commas."""
    folder, engines, names = Path(arguments[0]), *(a.split(",") for a in arguments[1:])
    compiling.BACKEND = "aot_eager"  # graphs as for a compiler, which then runs them as they are
    world = connect(timeout_s=300)
    torch.set_num_threads(1)
    for name in names:
        results = {}
        for engine in engines:
            torch._dynamo.reset()
            torch._dynamo.utils.counters.clear()
            results[engine] = run_cell(name, engine, folder, world, compiled=True)
            results[engine]["graphs"] = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        if world.rank == 0:
            (folder / name / "results.json").write_text(json.dumps(results))
    disconnect()
