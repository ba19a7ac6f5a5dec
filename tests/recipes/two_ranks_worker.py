"""One rank of two: trains every recipe a little and writes what it ended with."""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from largegan.checkpoint import unaliased
from largegan.health.observer import Observer
from largegan.parallel.launch import connect, disconnect, leave
from tests.health.watching import signals_after
from tests.recipes.common import iterate, make_recipe, make_trainer, weights

ITERATIONS, BATCH = 6, 8


def main(arguments: list[str]) -> None:
    """`FOLDER RECIPE ...`"""
    folder, names = Path(arguments[0]), arguments[1:]
    world = connect(processes=2)
    torch.set_num_threads(1)
    for name in names:
        # Differently seeded on purpose: the engine must make the ranks start alike.
        recipe = make_recipe(name, seed=world.rank)
        trainer = make_trainer(recipe, name, world=world, batch_size=BATCH)
        trainer.observer = Observer(recipe, trainer.engine.mean)
        iterate(trainer, ITERATIONS)
        state = {k: v.contiguous() for k, v in unaliased(weights(recipe)).items()}
        state["drawn"] = torch.tensor(trainer.stream.drawn)
        save_file(state, folder / f"{name}-{world.rank}.safetensors")
        signals = signals_after(trainer, 0)
        (folder / f"{name}-{world.rank}.json").write_text(json.dumps(signals))
    disconnect()


if __name__ == "__main__":
    main(sys.argv[1:])
    leave(0)
