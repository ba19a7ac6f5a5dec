"""One rank of two: trains every recipe a little and writes what it ended with."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from largegan.checkpoint import unaliased
from largegan.parallel.launch import connect, disconnect, leave
from tests.recipes.common import iterate, make_recipe, make_trainer, weights
from tests.recipes.test_every_recipe import restore


def main(folder: Path, names: list[str]) -> None:
    world = connect(processes=2)
    torch.set_num_threads(1)
    for name in names:
        # Differently seeded on purpose: the engine must make the ranks start alike.
        plain = make_trainer(make_recipe(name, seed=world.rank), name, world=world)
        iterate(plain, 10)
        keep(folder, f"plain-{name}-{world.rank}", plain)
        exact = make_trainer(make_recipe(name, exact=True), name, world=world, micro_batch_size=2)
        iterate(exact, 10)
        keep(folder, f"exact-{name}-{world.rank}", exact)
        resumed = make_trainer(make_recipe(name, exact=True), name, world=world, micro_batch_size=2)
        restore(resumed, folder / f"one-{name}" / f"{5 * 8:09d}")
        iterate(resumed, 5)
        keep(folder, f"resumed-{name}-{world.rank}", resumed)
    disconnect()


def keep(folder: Path, name: str, trainer) -> None:
    drawn = torch.tensor(trainer.stream.drawn)
    state = {k: v.contiguous() for k, v in unaliased(weights(trainer.recipe)).items()}
    save_file({**state, "drawn": drawn}, folder / f"{name}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
    leave(0)
