"""`train.compile`: the same steps, through graphs, for every recipe of the table."""

import shutil

import pytest
import torch

from largegan.errors import EnvironmentFault
from largegan.run import compiling
from tests.recipes.common import NAMES, iterate, make_recipe, make_trainer, weights

ITERATIONS = 2
QUICK = ("dcgan",)  # the others take 10 to 40 s each


@pytest.fixture
def graphs(monkeypatch):
    """Graphs are made and differentiated as for a compiler, which then runs them as they are."""
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield torch._dynamo.utils.counters["stats"]
    torch._dynamo.reset()


EACH = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


def trained(name: str, *, compiled: bool, exact: bool):
    recipe = make_recipe(name, exact=exact)
    trainer = make_trainer(recipe, name)
    if compiled:
        trainer.first_order = compiling.CompiledNetworks(recipe)
    return iterate(trainer, ITERATIONS)


@pytest.mark.parametrize("name", EACH)
def test_a_compiled_recipe_takes_the_same_steps(name, graphs):
    """Without batch norms, before which the gradient of a bias is nothing but rounding."""
    plain = trained(name, compiled=False, exact=True)
    recipe = trained(name, compiled=True, exact=True).recipe
    twice = all(phase.second_order for phase in recipe.phases)
    assert bool(graphs["unique_graphs"]) is not twice
    found = weights(recipe)
    for key, want in weights(plain.recipe).items():
        torch.testing.assert_close(found[key], want, rtol=1e-4, atol=1e-5, msg=key)
    assert not any("forward" in vars(module) for module in recipe.modules())


@pytest.mark.parametrize("name", EACH)
def test_a_compiled_recipe_has_the_same_losses(name, graphs):
    """With batch norms, where it has them."""
    want = trained(name, compiled=False, exact=False).tally.means()
    found = trained(name, compiled=True, exact=False).tally.means()
    assert found == pytest.approx(want, rel=1e-3, abs=1e-5)


def test_it_says_what_is_compiled():
    said = str(compiling.CompiledNetworks(make_recipe("stylegan2")))
    assert said.endswith("once: G.mapping, G.synthesis, D")


def test_a_machine_without_compiler(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda word: None)
    with pytest.raises(EnvironmentFault, match="needs a C\\+\\+ compiler"):
        compiling.check_compiler(torch.device("cpu"))


def test_a_gpu_without_triton(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda word: "/usr/bin/g++")
    monkeypatch.setattr(compiling, "find_spec", lambda name: None)
    compiling.check_compiler(torch.device("cpu"))
    with pytest.raises(EnvironmentFault, match="pip install triton"):
        compiling.check_compiler(torch.device("cuda"))
