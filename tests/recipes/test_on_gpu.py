"""What the suite can only try on a GPU: run with `-m gpu`."""

import pytest
import torch

from largegan.parallel.launch import World
from largegan.run.replays import make_replays
from tests.recipes.common import NAMES, draw, iterate, make_recipe, make_trainer, weights

pytestmark = pytest.mark.gpu
each_recipe = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def cuda():
    assert torch.cuda.is_available(), "tests marked gpu were asked for, and there is no GPU"
    torch.use_deterministic_algorithms(True)
    yield World(0, 1, torch.device("cuda", 0))
    torch.use_deterministic_algorithms(False)


@each_recipe
def test_two_runs_are_the_same_run(name, cuda):
    """Noise and data depend on progress alone, and deterministic kernels do the rest."""
    ends = []
    for disturbance in (1, 2):
        trainer = make_trainer(make_recipe(name), name, world=cuda)
        torch.manual_seed(disturbance)
        ends.append(weights(iterate(trainer, 4).recipe))
    for key, value in ends[0].items():
        assert torch.equal(value, ends[1][key]), key


@each_recipe
def test_bf16_trains(name, cuda):
    trainer = make_trainer(make_recipe(name), name, world=cuda)
    trainer.precision = "bf16"
    iterate(trainer, 4)
    assert trainer.bad_steps.total == 0
    for key, value in weights(trainer.recipe).items():
        assert value.dtype != torch.bfloat16 and value.isfinite().all(), key


@each_recipe
def test_samples_come_from_the_device(name, cuda):
    trainer = iterate(make_trainer(make_recipe(name), name, world=cuda), 1)
    random = torch.Generator(cuda.device).manual_seed(0)
    images = draw(trainer.recipe, 4, random)
    assert images.is_cuda and images.isfinite().all()


@each_recipe
def test_phases_replayed_as_cuda_graphs_take_the_same_steps(name, cuda):
    """Those that are not say why; the others give the same bits, with deterministic kernels."""
    ends, lines = [], []
    for graphs in (False, True):
        trainer = make_trainer(make_recipe(name), name, world=cuda)
        for phase in trainer.recipe.phases:
            object.__setattr__(phase, "every", min(phase.every, 2))
        replays = make_replays(trainer.engine, lines.append)  # and for both: nothing waits
        trainer.replays = replays if graphs else None
        ends.append(weights(iterate(trainer, 16).recipe))
    print(name, *lines, sep="\n")
    for key, value in ends[0].items():
        assert torch.equal(value, ends[1][key]), (key, lines)
    assert len(lines) == len({phase.name for phase in trainer.recipe.phases}), lines
    left = [line for line in lines if "not recorded" in line]
    assert len(left) < len(lines), lines
