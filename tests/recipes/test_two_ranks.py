"""The part of the suite that needs two real processes: ranks agree, and agree with one process."""

import pytest
import torch
from safetensors.torch import load_file

from tests.parallel.launching import run_ranks
from tests.recipes.common import NAMES, iterate, make_recipe, make_trainer, weights
from tests.recipes.test_every_recipe import save

each_recipe = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def results(tmp_path_factory, request):
    """One process first (its checkpoints are what two resume from), then two ranks.

    Only with the recipes that were selected: `-k sngan` need not wait for the others.
    """
    folder = tmp_path_factory.mktemp("ranks")
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    selected = {call.params.get("name") for call in calls if call}
    names = [name for name in NAMES if name in selected]
    alone = {}
    for name in names:
        trainer = make_trainer(make_recipe(name, exact=True), name, micro_batch_size=2)
        iterate(trainer, 5)
        save(trainer, folder / f"one-{name}")
        iterate(trainer, 5)
        alone[name] = weights(trainer.recipe), trainer.stream.drawn
    run_ranks(["-m", "tests.recipes.two_ranks_worker", str(folder), *names], world=2)
    return folder, alone


@each_recipe
def test_ranks_hold_the_same(results, name):
    """Bit for bit: parameters, averages, spectral-norm vectors, batch-norm statistics."""
    folder, _ = results
    for kind in ("plain", "exact"):
        first, second = (load_file(folder / f"{kind}-{name}-{r}.safetensors") for r in (0, 1))
        for key in first.keys() - {"drawn"}:
            assert torch.equal(first[key], second[key]), f"{kind}: {key}"


@each_recipe
@pytest.mark.parametrize("kind", ["exact", "resumed"])
def test_two_ranks_equal_one_process(results, name, kind):
    """1 process == 2 processes == 1, then 2 after a resume; only the order of sums differs."""
    folder, alone = results
    found, (wanted, _) = load_file(folder / f"{kind}-{name}-0.safetensors"), alone[name]
    for key in found.keys() - {"drawn"}:
        torch.testing.assert_close(found[key], wanted[key], rtol=1e-5, atol=1e-5, msg=key)


@each_recipe
def test_two_ranks_see_the_images_of_one(results, name):
    """The same samples in every global batch, each exactly once."""
    folder, alone = results
    ranks = [
        load_file(folder / f"exact-{name}-{r}.safetensors")["drawn"].reshape(-1, 4) for r in (0, 1)
    ]
    together = torch.cat(ranks, dim=1).sort(dim=1).values.flatten().tolist()
    assert together == alone[name][1]
