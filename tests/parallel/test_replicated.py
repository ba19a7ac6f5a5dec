"""The default engine on one process; what it does on several is tried in tests/recipes."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from largegan import checkpoint
from largegan.errors import ConfigError
from largegan.parallel.engine import Engine
from largegan.parallel.launch import World
from largegan.recipe import DataSpec, Player, Progress, Recipe, adam
from largegan.run.start import check_optimizers


class TwoNames(Recipe):
    """Like StyleGAN2: G.mapping is also reachable as mapping."""

    def __init__(self, data: DataSpec | None = None):
        super().__init__()
        self.mapping, self.synthesis = nn.Linear(2, 3), nn.Linear(3, 1)
        self.G = nn.ModuleDict({"mapping": self.mapping, "synthesis": self.synthesis})
        self.players = {"G": Player([self.G], adam(1e-2, 0.0, 0.9))}
        self.phases = []


def engine(recipe: Recipe) -> Engine:
    made = Engine(World(0, 1, torch.device("cpu")))
    made.setup(recipe)
    return made


def step(made: Engine, loss: torch.Tensor):
    made.begin("G", second_order=False)
    made.backward(loss, last=True)
    return made.finish("G", Progress(), terms={"loss": loss.detach()}, max_grad_norm=None)


def test_a_module_with_two_names_is_saved_once_and_restored(tmp_path):
    one, other = engine(TwoNames()), engine(TwoNames())
    step(one, one.recipe.mapping(torch.ones(1, 2)).sum())
    content = checkpoint.Checkpoint(one.model_state(), one.optimizer_state(), {})
    loaded = checkpoint.load(checkpoint.save(tmp_path, 1, content))
    assert "G.mapping.weight" not in loaded.model and "mapping.weight" in loaded.model
    other.load_model_state(loaded.model)
    other.load_optimizer_state(loaded.optimizer)
    for key, value in one.model_state().items():
        assert torch.equal(other.model_state()[key], value), key
    for key, value in one.optimizer_state().items():
        assert torch.equal(other.optimizer_state()[key], value), key


def test_a_tensor_that_is_missing_is_an_error():
    made = engine(TwoNames())
    state = dict(checkpoint.unaliased(made.model_state()))
    del state["synthesis.bias"]
    with pytest.raises(RuntimeError, match=r"synthesis\.bias"):
        made.load_model_state(state)


def test_unused_parameters_get_zero_gradients():
    """Ranks and engines must agree on what is reduced and stepped."""
    made = engine(TwoNames())
    assert step(made, made.recipe.mapping(torch.ones(1, 2)).sum()).finite
    unused = list(made.recipe.synthesis.parameters())
    assert all(not made.optimizers["G"].state[p]["exp_avg"].any() for p in unused)


def test_gradients_are_forgotten_after_a_step_and_after_a_bad_one():
    """Another player's phase, pictures and scores have their memory."""
    made = engine(TwoNames())
    for factor in (1.0, float("nan")):
        report = step(made, factor * made.recipe.mapping(torch.ones(1, 2)).sum())
        assert report.finite == (factor == 1.0)
        assert all(p.grad is None for p in made.params["G"])


def test_schedules_set_the_groups_of_their_player():
    recipe = TwoNames()
    recipe.players["G"].schedule = lambda at: {"lr": 0.5 + at.nimg}
    made = engine(recipe)
    step(made, recipe.mapping(torch.ones(1, 2)).sum())
    assert made.optimizers["G"].param_groups[0]["lr"] == 0.5


def test_moments_are_restored_in_the_layout_of_their_parameter():
    """channels_last weights, row-major files: the resumed step is the same step."""
    recipe = TwoNames()
    recipe.G["conv"] = nn.Conv2d(4, 4, 3)
    made = engine(recipe)
    step(made, recipe.G["conv"](torch.ones(1, 4, 5, 5)).sum())
    state = {k: v.contiguous() for k, v in made.optimizer_state().items()}
    made.load_optimizer_state(state)
    weight = recipe.G["conv"].weight
    moment = made.optimizers["G"].state[weight]["exp_avg"]
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert moment.stride() == weight.stride()
    assert torch.equal(moment, state["G/G.conv.weight/exp_avg"])


def test_another_optimizers_state_is_refused_by_name():
    made = engine(TwoNames())
    step(made, made.recipe.mapping(torch.ones(1, 2)).sum())
    state = made.optimizer_state()
    check_optimizers(Path("before"), state, made)
    made.recipe.players["G"].make_optimizer = partial(torch.optim.SGD, lr=0.1)
    says = "before holds exp_avg, exp_avg_sq, step of another optimizer than player G"
    with pytest.raises(ConfigError, match=says):
        check_optimizers(Path("before"), state, made)
