"""Every recipe under every engine on two real processes: the steps of one process.

One start for all of them. Each cell trains, saves, and goes on from what the engine before it saved
(the first from what one process saved), so that every engine reads and is read by another.
"""

import json

import pytest
from safetensors.torch import load_file

from largegan import checkpoint
from tests.parallel.forking import run_forked
from tests.parallel.product import AFTER, BEFORE, ENGINES, NAMES, difference, run_alone


def selected(request, parameter: str, table: list[str]) -> list[str]:
    """What of a table the chosen tests need: `-k sngan` need not wait for the others."""
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    wanted = {call.params.get(parameter) for call in calls if call}
    return [name for name in table if name in wanted]


@pytest.fixture(scope="module")
def product(tmp_path_factory, request):
    """(the folder, histories of one process by recipe, results by recipe and engine)."""
    folder = tmp_path_factory.mktemp("product")
    names, engines = selected(request, "name", NAMES), selected(request, "engine", ENGINES)
    alone = {name: run_alone(name, folder) for name in names}
    engines = ["replicated", *(e for e in engines if e != "replicated")]
    arguments = [str(folder), ",".join(engines), ",".join(names)]
    run_forked("tests.parallel.product", arguments, world=2)
    found = {name: json.loads((folder / name / "results.json").read_text()) for name in names}
    return folder, alone, found


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", NAMES)
def test_steps_are_those_of_one_process(product, name, engine):
    """Losses and norms of every phase, weights, averages, buffers and moments; also after a resume
    from another engine, or from another number of processes."""
    folder, alone, found = product
    cell = found[name][engine]
    assert "refused" not in cell, cell
    assert len(cell["history"]) == len(alone[name]) == BEFORE + AFTER
    for step, wanted in zip(cell["history"], alone[name], strict=True):
        assert step == {key: pytest.approx(v, rel=1e-4, abs=1e-5) for key, v in wanted.items()}
    saved, wanted = (
        checkpoint.load(next((folder / name / who).glob("0*"))) for who in (engine, "alone")
    )
    assert not difference(saved.model, wanted.model)
    assert not difference(saved.optimizer, wanted.optimizer)
    ends = (load_file(folder / name / f"{who}.safetensors") for who in (engine, "alone"))
    assert not difference(*ends)
    assert cell["ranks_agree"]
    # In sixteen bits and with batch norm, against the replicated engine.
    assert not cell["everything"]
