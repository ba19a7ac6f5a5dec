"""One rank of two, under every engine: what it holds, draws, and does with a step gone wrong."""

import json
from functools import partial, wraps
from pathlib import Path

import torch

from largegan.parallel.engine import Engine
from largegan.parallel.launch import World, connect, disconnect
from largegan.parallel.replicated import Replicated
from largegan.recipe import Player, Progress, Recipe
from largegan.trainer import Trainer
from tests.health.test_steps import add_infinite_term, poison
from tests.parallel.product import ENGINES, make, snapshot, train


def moment_bytes(trainer: Trainer) -> int:
    """What this rank's optimizers hold, but for their counters of steps."""
    tensors = [
        value
        for optimizer in trainer.engine.optimizers.values()
        for fields in optimizer.state.values()
        for field, value in fields.items()
        if field != "step"
    ]
    return sum(t.numel() * t.element_size() for t in tensors)


def average_bytes(trainer: Trainer) -> int:
    """What this rank holds of averaged weights between phases."""
    whole = sum(p.nbytes for p in trainer.recipe.G_ema.parameters())
    return whole + sum(flat.nbytes for a in trainer.engine.averages for flat in a.flats)


def weight_bytes(trainer: Trainer) -> int:
    """What the networks themselves hold between phases."""
    return sum(p.nbytes for params in trainer.engine.params.values() for p in params)


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


def watch(trainer: Trainer) -> dict[str, int]:
    """Where bytes of weights will be counted that lie whole where nobody reads them."""
    seen, recipe = {}, trainer.recipe

    def watched(function, *nets):
        @wraps(function)
        def call(*arguments):
            seen[function.__name__] = sum(p.nbytes for net in nets for p in net.parameters())
            return function(*arguments)

        return call

    (phase,) = (p for p in recipe.phases if p.others == ())
    object.__setattr__(phase, "loss", watched(phase.loss, recipe.D))
    recipe.after_iteration = watched(recipe.after_iteration, recipe.G, recipe.D)
    return seen


def run_toy(engine: str, world: World) -> dict:
    trainer = make("toy", engine, world)
    unread = watch(trainer)
    train(trainer, 2)
    picture = None
    with trainer.engine.whole():  # as a session draws: rank 0 alone, from whole weights
        if world.rank == 0:
            picture = trainer.recipe.sample(2, torch.Generator().manual_seed(0)).flatten().tolist()
            trainer.recipe.G(torch.ones(1, 4))
    return {
        "moment_bytes": moment_bytes(trainer),
        "average_bytes": average_bytes(trainer),
        "weight_bytes": weight_bytes(trainer),
        "unread_bytes": unread,
        "picture": picture,
        "skipped": skip_two(trainer, world),
    }


class Chain(Recipe):
    """Layers that a loss may leave out, the last of them first."""

    def __init__(self):
        super().__init__()
        self.D = torch.nn.Sequential(*(torch.nn.Linear(1, 1) for _ in range(3)))
        self.players = {"D": Player([self.D], partial(torch.optim.SGD, lr=1.0))}
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
        params = list(recipe.parameters())
        wanted = torch.autograd.grad(
            sum(recipe.loss(layers) for layers in used), params, materialize_grads=True
        )
        before = [p.detach().clone() for p in params]
        loss = recipe.loss(used[world.rank])
        engine.begin("D", second_order=False)
        engine.backward(loss, last=True)
        engine.finish("D", Progress(), terms={"": loss.detach()}, max_grad_norm=None)
        for old, p, gradient in zip(before, params, wanted, strict=True):
            torch.testing.assert_close(old - p, gradient)
            assert p.grad is None


def main(arguments: list[str]) -> None:
    world = connect(processes=2)
    torch.set_num_threads(1)
    check_uneven_use(world)
    results = {engine: run_toy(engine, world) for engine in ENGINES}
    (Path(arguments[0]) / f"rank{world.rank}.json").write_text(json.dumps(results))
    disconnect()
