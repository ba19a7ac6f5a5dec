"""A tiny trainer whose health is watched as a run's is: signals, held-out examples, looks."""

import torch

from largegan.health import looks
from largegan.health.observer import Observer
from largegan.run.checkups import probe, sampled, translated, undisturbed, wanted
from largegan.trainer import Trainer
from tests.recipes.common import example, iterate, make_recipe, make_trainer, spec_reading

LOOKED_AT = 12


def watched(name: str, **options) -> Trainer:
    """A trainer with an observer; `options` as `make_trainer` takes them."""
    trainer = make_trainer(make_recipe(name), name, **options)
    trainer.observer = Observer(trainer.recipe, trainer.engine.mean)
    return trainer


def unseen(trainer: Trainer, first: int = 10_000) -> list[dict]:
    """This rank's micro-batches of a batch that training never reads."""
    size, engine = trainer.batch_size // trainer.micro_batches, trainer.engine
    starts = range(first, first + trainer.batch_size, size)[engine.rank :: engine.world]
    return [trainer.stream.collate(range(s, s + size)) for s in starts]


def look(trainer: Trainer) -> dict[str, float]:
    """At a few samples, against a few training examples."""
    recipe = trainer.recipe
    spec = spec_reading(recipe.reads)
    drawn = [example(spec, p) for p in range(LOOKED_AT)]
    batch = {key: torch.stack([one[key] for one in drawn]) for key in drawn[0]}
    reals = looks.reals_of(
        looks.features(batch[wanted(recipe)]), batch.get("label"), count=LOOKED_AT
    )
    asked = torch.arange(LOOKED_AT) % recipe.num_classes if recipe.num_classes else None
    with torch.no_grad(), undisturbed(trainer.engine.device):
        if recipe.directions:
            samples = translated(recipe, batch, 8)
        else:
            samples = sampled(recipe, LOOKED_AT, asked, torch.Generator().manual_seed(1), 8)
    return looks.look(looks.features(samples), reals, asked=asked, copies=not recipe.directions)


def signals_after(trainer: Trainer, iterations: int) -> dict[str, float]:
    """The line of the iterations, with what discriminators say of unseen examples."""
    iterate(trainer, iterations)
    heard = probe(trainer, unseen(trainer)) or {}
    return trainer.observer.line() | {f"unseen/{name}": value for name, value in heard.items()}
