"""Every recipe under every engine: what each rank does, and what one process does.

Both tables are those of the program: a new row of either enters by itself. "toy" is a recipe in
which everything that makes distribution hard comes together.
"""

import hashlib
import json
from itertools import cycle
from pathlib import Path

import torch

from largegan import checkpoint
from largegan.errors import ConfigError
from largegan.parallel.alike import gather
from largegan.parallel.choose import ENGINES as ENGINE_TABLE
from largegan.parallel.choose import choose
from largegan.parallel.launch import World, agree, connect, disconnect
from largegan.recipe import Recipe
from largegan.run.compiling import CompiledNetworks
from largegan.trainer import Trainer
from tests.parallel.toy import Toy
from tests.recipes import common
from tests.recipes.common import IMAGES, make_trainer

NAMES = [*common.NAMES, "toy"]
# "deepspeed" is the name of one of the others, with a file.
CUT = [name for name in ENGINE_TABLE if name not in ("replicated", "deepspeed")]
ENGINES = ["replicated", "without overlap", *CUT, "mixed"]
BEFORE = 1  # iterations of one process, to a checkpoint
AFTER = 2  # and from there, under each engine
ALONE = World(0, 1, torch.device("cpu"))


def make(
    name: str,
    engine: str,
    world: World,
    *,
    everything: bool = False,
    seed: int = 0,
    ranks: int | None = None,
    compiled: bool = False,
) -> Trainer:
    """A small trainer of recipe `name`: two micro-batches of 2 for each of `ranks`.

    With `everything` switched on, in sixteen bits and with batch norm, which no other number of
    processes can equal; otherwise in float32, with clipping.
    """
    recipe = make_recipe(name, seed, same=not everything)
    damp(recipe)
    shares = None
    if world.size > 1:
        engines, overlap = by_player(engine, recipe), engine != "without overlap"
        shares = choose(engines, recipe, world, overlap=overlap, env={})
    trainer = make_trainer(
        recipe,
        name,
        world=world,
        shares=shares,
        batch_size=4 * (ranks or world.size),
        micro_batch_size=2,
        max_grad_norm=None if everything else 0.3,
    )
    if everything:
        trainer.precision = "bf16"
    if compiled:
        trainer.first_order = CompiledNetworks(recipe)
    return trainer


def make_recipe(name: str, seed: int, *, same: bool) -> Recipe:
    if name != "toy":
        return common.make_recipe(name, seed=seed, same=same)
    torch.manual_seed(seed)
    return Toy(IMAGES)


def by_player(engine: str, recipe: Recipe) -> str | dict[str, str]:
    if engine == "mixed":
        return dict(zip(recipe.players, cycle(reversed(CUT)), strict=False))
    return "replicated" if engine == "without overlap" else engine


def damp(recipe: Recipe) -> None:
    """A large eps: with a small one Adam turns rounding of a gradient near 0 into a whole step."""
    for player in recipe.players.values():
        player.make_optimizer = Damped(player.make_optimizer)


class Damped:
    def __init__(self, make_optimizer):
        self.make_optimizer = make_optimizer

    def __call__(self, params):
        optimizer = self.make_optimizer(params)
        for group in optimizer.param_groups:
            if "eps" in group:
                group["eps"] = 1e-3
        return optimizer


def train(trainer: Trainer, iterations: int) -> list[dict[str, float]]:
    """The mean over ranks of each term and gradient norm, iteration by iteration."""
    history = []
    for _ in range(iterations):
        trainer.tally.sums.clear()
        trainer.tally.counts.clear()
        trainer.iteration()
        means = trainer.tally.means()
        values = trainer.engine.mean(torch.tensor(list(means.values()), dtype=torch.float64))
        history.append(dict(zip(means, values.tolist(), strict=True)))
    return history


def save(trainer: Trainer, folder: Path, world: World) -> Path:
    content = checkpoint.Checkpoint(
        trainer.engine.model_state(), trainer.engine.optimizer_state(), trainer.state_dict()
    )
    path = agree(world, lambda: str(checkpoint.save(folder, trainer.at.nimg, content)))
    return Path(path)


def restore(trainer: Trainer, path: Path) -> None:
    content = checkpoint.load(path)
    checkpoint.check_model(path, content.model, trainer.engine.layout)
    trainer.engine.load_model_state(content.model)
    trainer.engine.load_optimizer_state(content.optimizer)
    trainer.load_state_dict(content.state)


def snapshot(trainer: Trainer) -> dict[str, torch.Tensor]:
    """Weights, averages, buffers and moments; whole on rank 0."""
    engine = trainer.engine
    return {k: v.clone() for k, v in (engine.model_state() | engine.optimizer_state()).items()}


def run_alone(name: str, folder: Path, ranks: int) -> list[dict[str, float]]:
    """The history of one process after its first checkpoint, doing what `ranks` shall do; what it
    saved there and at its end is in `folder/name`.
    """
    trainer = make(name, "", ALONE, ranks=ranks)
    train(trainer, BEFORE)
    save(trainer, folder / name / "before", ALONE)
    history = train(trainer, AFTER)
    save(trainer, folder / name / "alone", ALONE)
    return history


def run_cell(name: str, engine: str, folder: Path, world: World, *, compiled: bool = False) -> dict:
    """Goes on from what one process saved, and saves."""
    # Differently seeded on purpose: the engine must make the ranks start alike.
    trainer = make(name, engine, world, seed=world.rank, compiled=compiled)
    alike = ranks_agree(trainer, world)
    restore(trainer, saved(folder / name / "before"))
    history = train(trainer, AFTER)
    save(trainer, folder / name / engine, world)
    return {"history": history, "ranks_agree": alike and ranks_agree(trainer, world)}


def saved(folder: Path) -> Path:
    """The one checkpoint of a folder."""
    (path,) = checkpoint.numbered(folder)
    return path


def run_everything(name: str, engine: str, world: World) -> dict[str, torch.Tensor]:
    """Where the first iteration ends with everything on, on rank 0."""
    trainer = make(name, engine, world, everything=True, seed=world.rank)
    train(trainer, 1)
    return snapshot(trainer)


def ranks_agree(trainer: Trainer, world: World) -> bool:
    """Bit for bit, weights, averages and buffers."""
    with trainer.engine.whole():
        digest = hashlib.sha256()
        for tensor in trainer.recipe.state_dict().values():
            digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return len(set(gather(world, digest.hexdigest()))) == 1


def difference(
    found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], *, slack: float = 1.0
) -> str:
    """The tensor that is furthest away, if it is further than rounding; else empty."""
    if found.keys() != wanted.keys():
        return f"other tensors: {sorted(found.keys() ^ wanted.keys())}"
    away = {}
    for key, value in wanted.items():
        if found[key].shape != value.shape:
            return f"{key} is {list(found[key].shape)}, not {list(value.shape)}"
        size = value.double().abs().amax() if value.numel() else 0.0
        # Relative to the whole tensor, for sums cancel; second moments are small numbers.
        error = (found[key].double() - value.double()).abs() / (1e-4 * size + 1e-7)
        away[key] = float(error.amax()) if value.numel() else 0.0
    worst = max(away, key=away.get)
    return f"{worst}: {away[worst]:.2g} times as far as may be" if not away[worst] <= slack else ""


def run_recipe(name: str, engines: list[str], deep: bool, folder: Path, world: World) -> dict:
    """By engine: what `run_cell` found, or the sentence of a refusal.

    Everything is switched on under two engines, which take turns from recipe to recipe, or under
    all of them when `deep`.
    """
    results, wanted = {}, None
    turn = 1 + NAMES.index(name) % (len(ENGINES) - 1)
    for engine in engines:
        try:
            results[engine] = run_cell(name, engine, folder, world)
        except ConfigError as refusal:
            results[engine] = {"refused": str(refusal)}
            continue
        if deep or engine in (ENGINES[0], ENGINES[turn]):
            found = run_everything(name, engine, world)
            wanted = wanted or found  # the first engine's
            results[engine]["everything"] = difference(found, wanted)
    return results


def main(arguments: list[str]) -> None:
    """`FOLDER ENGINES RECIPES`, separated by commas, and "deep" or not."""
    folder, engines, names = Path(arguments[0]), *(a.split(",") for a in arguments[1:3])
    world = connect(timeout_s=300)
    torch.set_num_threads(1)
    for name in names:
        results = run_recipe(name, engines, "deep" in arguments, folder, world)
        if world.rank == 0:
            (folder / name / "results.json").write_text(json.dumps(results))
    disconnect()
