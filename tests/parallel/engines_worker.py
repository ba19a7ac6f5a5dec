"""One rank of two: trains under every engine, saves, resumes what another engine saved."""

import json
import sys
import warnings
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor

from largegan import checkpoint
from largegan.parallel.choose import choose
from largegan.parallel.engine import Engine
from largegan.parallel.launch import World, agree, connect, disconnect, leave
from largegan.parallel.replicated import Replicated
from largegan.recipe import Player, Progress, Recipe
from largegan.trainer import Trainer
from tests.health.test_steps import add_infinite_term, poison
from tests.parallel.toy import Toy
from tests.recipes.common import IMAGES, make_recipe, make_trainer

MIXED = {"G": "fsdp2", "D": "zero2"}
ENGINES = {
    "replicated": "replicated",
    "zero1": "zero1",
    "zero2": "zero2",
    "fsdp2": "fsdp2",
    "mixed": MIXED,
    "zero3": "zero3",  # first order only
}
# Which engine's checkpoint each engine continues from.
RESUMES = dict(
    zip(ENGINES, ["mixed", "fsdp2", "replicated", "zero1", "zero2", "zero3"], strict=True)
)
# Real recipes; wgan clips weights after its steps.
RECIPES = {
    "sngan": ["fsdp2", "zero3"],
    "wgan_gp": ["fsdp2", "zero2"],
    "wgan": ["fsdp2", "zero1"],
}
HALF = 5  # iterations to a checkpoint, and from there to the end


def make(
    recipe: Recipe,
    name: str,
    *,
    world: World | None = None,
    engine=None,
    max_grad_norm: float | None = 0.3,
) -> Trainer:
    shares = choose(engine, recipe, world) if engine else None
    return make_trainer(
        recipe, name, world=world, shares=shares, micro_batch_size=2, max_grad_norm=max_grad_norm
    )


def make_real(recipe: str, **options) -> Trainer:
    """Not clipped: nor may an engine clip of its own accord."""
    return make(make_recipe(recipe, exact=True), recipe, max_grad_norm=None, **options)


def toy(engine: str, seed: int = 0) -> Toy:
    torch.manual_seed(seed)
    return Toy(IMAGES, second_order=engine != "zero3")


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


def moment_bytes(trainer: Trainer) -> int:
    """What this rank's optimizers hold, but for their counters of steps."""
    tensors = [
        v.to_local() if isinstance(v, DTensor) else v
        for optimizer in trainer.engine.optimizers.values()
        for fields in optimizer.state.values()
        for field, v in fields.items()
        if field != "step"
    ]
    return sum(t.numel() * t.element_size() for t in tensors)


def skip_two(trainer: Trainer, world: World) -> bool:
    """Both on rank 1 only, a loss that is NaN, and an infinite term of which no gradient tells: no
    engine may step, nor forget what it knew.
    """
    same = []
    phase = trainer.recipe.phases[0]
    for spoil in (poison_now, add_infinite_term_now):
        before = snapshot(trainer)
        loss = phase.loss
        if world.rank == 1:
            spoil(trainer)
        trainer.run_phase(phase, trainer.next_micro_batches(), (0, 0))
        object.__setattr__(phase, "loss", loss)
        after = snapshot(trainer)
        same += [torch.equal(before[k], after[k]) for k in before]
    twice = trainer.bad_steps.total == 2
    train(trainer, 2)
    finite = all(v.isfinite().all() for v in snapshot(trainer).values())
    return all(same) and twice and finite


def poison_now(trainer: Trainer) -> None:
    poison(trainer, 0, {trainer.at.step})


def add_infinite_term_now(trainer: Trainer) -> None:
    add_infinite_term(trainer, 0, trainer.at.step)


def snapshot(trainer: Trainer) -> dict[str, torch.Tensor]:
    engine = trainer.engine
    return {k: v.clone() for k, v in (engine.model_state() | engine.optimizer_state()).items()}


def keep(path: Path, trainer: Trainer, world: World) -> None:
    state = snapshot(trainer)
    if world.rank == 0:
        save_file({k: v.contiguous() for k, v in state.items()}, path)


def run_toy(name: str, folder: Path, world: World) -> dict:
    trainer = make(toy(name, seed=world.rank), "toy", world=world, engine=ENGINES[name])
    history = train(trainer, HALF)
    save(trainer, folder / name, world)
    history += train(trainer, HALF)
    keep(folder / f"{name}.safetensors", trainer, world)
    picture = None
    with trainer.engine.whole():  # as train.py draws: rank 0 alone, from whole weights
        if world.rank == 0:
            picture = trainer.recipe.sample(2, torch.Generator().manual_seed(0)).flatten().tolist()
            trainer.recipe.G(torch.ones(1, 4))
    return {
        "history": history,
        "moment_bytes": moment_bytes(trainer),
        "picture": picture,
        "skipped": skip_two(trainer, world),
    }


class Chain(Recipe):
    """Layers that a loss may leave out, the last of them first."""

    def __init__(self):
        super().__init__()
        self.D = torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(3)))
        self.players = {"D": Player([self.D], partial(torch.optim.SGD, lr=0.0))}
        self.phases = []

    def loss(self, layers: list[int]) -> torch.Tensor:
        x = torch.ones(1)
        for i in layers:
            x = self.D[i](x)
        return x.sum()


def check_uneven_use(world: World) -> None:
    """Rank 1 begins to use a layer whose bucket has left by then; the sum is that of both."""
    torch.manual_seed(0)
    recipe = Chain()
    engine = Engine(world, {"D": partial(Replicated, bucket_bytes=1)})
    engine.setup(recipe)
    for used in ([1, 0], [1, 0]), ([1, 0], [2, 1, 0]):
        loss = recipe.loss(used[world.rank])
        engine.begin("D", second_order=False)
        engine.backward(loss, last=True)
        engine.finish("D", Progress(), terms={"": loss.detach()}, max_grad_norm=None)
        found = [p.grad.clone() for p in recipe.parameters()]
        recipe.zero_grad()
        sum(recipe.loss(layers) for layers in used).backward()
        for p, gradient in zip(recipe.parameters(), found, strict=True):
            torch.testing.assert_close(gradient, torch.zeros_like(p) if p.grad is None else p.grad)


def main(folder: Path) -> None:
    world = connect(processes=2)
    torch.set_num_threads(1)
    warnings.filterwarnings("error", message="FSDP2-wrapped module")  # of views, see fsdp2.py
    check_uneven_use(world)
    results = {name: run_toy(name, folder, world) for name in ENGINES}
    for name, source in RESUMES.items():
        trainer = make(toy(name, seed=7), "toy", world=world, engine=ENGINES[name])
        restore(trainer, folder / source / f"{HALF * 8:09d}")
        train(trainer, HALF)
        keep(folder / f"{source}-to-{name}.safetensors", trainer, world)
    for recipe, engines in RECIPES.items():
        for name in engines:
            trainer = make_real(recipe, world=world, engine=name)
            train(trainer, 2)
            keep(folder / f"{recipe}-{name}.safetensors", trainer, world)
    (folder / f"rank{world.rank}.json").write_text(json.dumps(results))
    disconnect()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    leave(0)
