"""`train.compile` under every engine, on two processes: the steps of one that compiles nothing."""

import json

import pytest
import torch

from largegan.run import compiling
from tests.parallel.forking import run_forked
from tests.parallel.product import (
    ALONE,
    CUT,
    difference,
    make,
    restore,
    run_alone,
    saved,
    train,
)
from tests.parallel.test_product import Product, outcome, selected

ENGINES = ["replicated", *CUT, "mixed"]
# First- and second-order phases, entrances other than the network, and two generators of a player.
NAMES = ["sngan", "stylegan2", "cyclegan"]

pytestmark = pytest.mark.slow  # a minute for each recipe


@pytest.fixture(scope="module")
def product(tmp_path_factory, request) -> Product:
    folder = tmp_path_factory.mktemp("compiled")
    names, engines = selected(request, "name", NAMES), selected(request, "engine", ENGINES)
    alone = {name: run_alone(name, folder, 2) for name in names}
    arguments = [str(folder), ",".join(engines), ",".join(names)]
    run_forked("tests.parallel.compiled", arguments, world=2, timeout_s=900)
    cells = {name: json.loads((folder / name / "results.json").read_text()) for name in names}
    return Product(2, folder, alone, cells)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", NAMES)
def test_compiled_networks_take_the_same_steps(product, name, engine):
    assert product.cells[name][engine]["graphs"] > 0
    assert outcome(product, name, engine) == "trains"


@pytest.mark.parametrize("name", NAMES)
def test_one_process_that_compiles_goes_on_from_two_that_did(product, name, monkeypatch):
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    torch._dynamo.reset()
    ends, several = [], list(product.cells[name])[-1]
    for source, compiled in ((several, True), ("alone", False)):
        trainer = make(name, "", ALONE, seed=5, ranks=2, compiled=compiled)
        restore(trainer, saved(product.folder / name / source))
        train(trainer, 1)
        ends.append(trainer.engine.model_state() | trainer.engine.optimizer_state())
    assert not difference(*ends, slack=10.0)
