"""Every recipe under every engine on two real processes: the steps of one process.

One start for all of them. Each cell trains, and goes on from what one process saved; what it saves
is what one process would have saved, to the last name, so that any other can go on from it.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from largegan import checkpoint
from tests.parallel.forking import run_forked
from tests.parallel.product import (
    AFTER,
    ALONE,
    BEFORE,
    ENGINES,
    NAMES,
    difference,
    make,
    restore,
    run_alone,
    saved,
    train,
)


@dataclass(frozen=True)
class Product:
    """What a start of all cells left behind."""

    ranks: int
    folder: Path
    alone: dict[str, list[dict[str, float]]]  # by recipe, the history of one process
    cells: dict[str, dict[str, dict]]  # by recipe and engine


STARTS = {
    "2 ranks": (2, []),
    "4 ranks, everything everywhere": (4, ["deep"]),
}


def selected(request, parameter: str, table: list[str]) -> list[str]:
    """What of a table the chosen tests need: `-k sngan` need not wait for the others."""
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    wanted = {call.params.get(parameter) for call in calls if call}
    return [name for name in table if name in wanted]


@pytest.fixture(
    scope="module",
    params=[pytest.param(s, marks=[] if s == "2 ranks" else pytest.mark.slow) for s in STARTS],
)
def product(tmp_path_factory, request) -> Product:
    ranks, words = STARTS[request.param]
    folder = tmp_path_factory.mktemp("product")
    names, engines = selected(request, "name", NAMES), selected(request, "engine", ENGINES)
    alone = {name: run_alone(name, folder, ranks) for name in names}
    engines = ["replicated", *(e for e in engines if e != "replicated")]
    arguments = [str(folder), ",".join(engines), ",".join(names), *words]
    run_forked("tests.parallel.product", arguments, world=ranks, timeout_s=600 * ranks)
    cells = {name: json.loads((folder / name / "results.json").read_text()) for name in names}
    return Product(ranks, folder, alone, cells)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", NAMES)
def test_steps_are_those_of_one_process(product, name, engine):
    """Losses and norms of every phase, weights, averages, buffers and moments."""
    cell = product.cells[name][engine]
    assert "refused" not in cell, cell
    history = product.alone[name]
    assert len(cell["history"]) == len(history) == BEFORE + AFTER
    for step, wanted in zip(cell["history"], history, strict=True):
        assert step == {key: pytest.approx(v, rel=1e-4, abs=1e-5) for key, v in wanted.items()}
    ours, theirs = (
        checkpoint.load(saved(product.folder / name / who)) for who in (engine, "alone")
    )
    assert not difference(ours.model, theirs.model)
    assert not difference(ours.optimizer, theirs.optimizer)
    assert ours.state == theirs.state
    assert cell["ranks_agree"]
    # In sixteen bits and with batch norm, against the replicated engine.
    assert not cell.get("everything")


@pytest.mark.parametrize("name", NAMES)
def test_one_process_goes_on_from_several(product, name):
    """From what an engine saved; engines take turns."""
    engine = list(product.cells[name])[NAMES.index(name) % len(product.cells[name])]
    ends = []
    for source in (engine, "alone"):
        trainer = make(name, "", ALONE, seed=5, ranks=product.ranks)
        restore(trainer, saved(product.folder / name / source))
        train(trainer, 1)
        ends.append(trainer.engine.model_state() | trainer.engine.optimizer_state())
    assert not difference(*ends)
