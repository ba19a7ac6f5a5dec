"""Every recipe under every engine on two real processes: the steps of one process.

One start for all of them. Each cell goes on from what one process saved; what it saves is what one
process would have saved, to the last name, so that any other can go on from it.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from largegan import checkpoint
from tests.parallel.forking import run_forked
from tests.parallel.launching import ROOT
from tests.parallel.product import (
    AFTER,
    ALONE,
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


RESULTS = ROOT / "benchmarks" / "results" / "engines.json"
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


def outcome(product: Product, name: str, engine: str) -> str:
    """ "trains", a refusal's sentence, or what is not as it is on one process."""
    cell = product.cells[name][engine]
    if "refused" in cell:
        return cell["refused"]
    faults = [*history_faults(cell["history"], product.alone[name])]
    ours, theirs = (
        checkpoint.load(saved(product.folder / name / who)) for who in (engine, "alone")
    )
    faults += [difference(ours.model, theirs.model), difference(ours.optimizer, theirs.optimizer)]
    faults += ["" if ours.state == theirs.state else "another state.json"]
    faults += ["" if cell["ranks_agree"] else "ranks hold other numbers than each other"]
    # In sixteen bits and with batch norm, against the replicated engine.
    faults += [cell.get("everything", "")]
    return next((f"FAILS: {fault}" for fault in faults if fault), "trains")


def history_faults(found: list[dict], wanted: list[dict]) -> Iterator[str]:
    """Losses and gradient norms of every phase, step by step."""
    assert len(found) == len(wanted) == AFTER
    for i, (step, right) in enumerate(zip(found, wanted, strict=True)):
        for key in step.keys() | right.keys():
            if step.get(key) != pytest.approx(right.get(key), rel=1e-4, abs=1e-5):
                yield f"{key} of step {i} is {step.get(key)}, not {right.get(key)}"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", NAMES)
def test_steps_are_those_of_one_process(product, name, engine):
    """Losses and norms of every phase, weights, averages, buffers and moments."""
    assert outcome(product, name, engine) == "trains"


def test_what_is_published_is_what_was_seen(product):
    """`LARGEGAN_WRITE_RESULTS=1` writes it: do so when a recipe or an engine has been added."""
    seen = {
        name: {engine: outcome(product, name, engine) for engine in cells}
        for name, cells in product.cells.items()
        if name != "toy"
    }
    published = json.loads(RESULTS.read_text())
    if os.environ.get("LARGEGAN_WRITE_RESULTS"):
        published["cells"] = seen
        RESULTS.write_text(json.dumps(published, indent=1) + "\n")
    for name in seen.keys() & published["cells"].keys():
        for engine in seen[name].keys() & published["cells"][name].keys():
            assert published["cells"][name][engine] == seen[name][engine], (name, engine)


@pytest.mark.parametrize("name", NAMES)
def test_one_process_goes_on_from_several(product, name):
    """From what an engine saved; engines take turns.

    Where a weight's last digit turns a step (CycleGAN's absolute values and ReLUs), the step may be
    as far as noise in that digit takes it: a lost moment is a hundred times further.
    """
    engine = list(product.cells[name])[NAMES.index(name) % len(product.cells[name])]
    wanted = goes_on(product, name, "alone")
    found = goes_on(product, name, engine)
    if difference(found, wanted):
        noisy = [difference(goes_on(product, name, "alone", noise=i), wanted) for i in (1, 2, 3)]
        furthest = max(float(said.split()[1]) if said else 1.0 for said in noisy)
        assert not difference(found, wanted, slack=3 * furthest), noisy


def goes_on(product, name: str, source: str, *, noise: int = 0) -> dict:
    """One step further, on one process; with `noise`, from weights whose last digit is drawn."""
    trainer = make(name, "", ALONE, seed=5, ranks=product.ranks)
    restore(trainer, saved(product.folder / name / source))
    if noise:
        draw = torch.Generator().manual_seed(noise)
        with torch.no_grad():
            for p in trainer.recipe.parameters():
                p.mul_(1 + 1e-7 * torch.randn(p.shape, generator=draw))
    train(trainer, 1)
    return trainer.engine.model_state() | trainer.engine.optimizer_state()
