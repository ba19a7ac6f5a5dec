"""A real toy that falls ill: a GAN of numbers with three modes, which then loses two of them."""

import torch

from largegan.health import looks
from largegan.health.diagnosis import Diagnosis
from largegan.health.observer import Observer
from largegan.health.records import Notice
from largegan.health.signals import PREFIX
from largegan.recipes import build
from largegan.trainer import Trainer
from tests.health.test_looks import three_modes
from tests.recipes.common import NUMBERS, iterate, make_trainer

ITERATIONS, COUNT = 100, 256  # of a line; of a look
OPTIONS = {"lr": 2e-3, "r1": 0.1, "ema_halflife_nimg": 500}


def numbers(batch: dict, device: torch.device) -> dict:
    """Three modes instead of one, another draw for each batch."""
    seed = int(batch["x"].sum().mul(1e4)) % 2**31
    return {"x": three_modes(len(batch["x"]), seed=seed).to(device)}


def toy() -> Trainer:
    torch.manual_seed(0)
    trainer = make_trainer(build("gaussian", NUMBERS, OPTIONS), "gaussian", batch_size=64)
    trainer.to_device = numbers
    trainer.observer = Observer(trainer.recipe, trainer.engine.mean)
    return trainer


def followed(trainer: Trainer, diagnosis: Diagnosis, lines: int) -> list[Notice]:
    """What is said while it trains for so many lines."""
    reals = looks.reals_of(looks.features(three_modes(512, seed=1)), None, count=COUNT)
    found = []
    for _ in range(lines):
        iterate(trainer, ITERATIONS)
        samples = trainer.recipe.sample(COUNT, torch.Generator().manual_seed(1))
        seen = looks.look(looks.features(samples), reals, asked=None, copies=True)
        line = trainer.observer.line() | {PREFIX + name: value for name, value in seen.items()}
        found += diagnosis.add(line | {"nimg": trainer.at.nimg, f"{PREFIX}skipped_steps": 0})
    return found


def test_a_toy_that_loses_its_modes_is_found():
    """Well for four lines; a learning rate times 25 for G, and it is ill within eight more."""
    trainer, diagnosis = toy(), Diagnosis({"recipe.g_lr": 0.05, "recipe.lr": 2e-3})
    assert followed(trainer, diagnosis, 4) == []
    trainer.engine.optimizers["G"].param_groups[0]["lr"] = 0.05
    notices = followed(trainer, diagnosis, 8)
    assert ("mode_collapse", "begins") in [(n.verdict, n.state) for n in notices]
    told = next(n for n in notices if n.verdict == "mode_collapse")
    assert {"recipe.g_lr": 0.0125} in [one.settings for one in told.remedies]
