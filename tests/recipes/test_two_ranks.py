"""The part of the suite that needs two real processes: ranks agree, and share the images.

That they take the steps of one process, under any engine: `tests/parallel/test_product.py`.
"""

import pytest
import torch
from safetensors.torch import load_file

from tests.parallel.forking import run_forked
from tests.recipes.common import NAMES
from tests.recipes.two_ranks_worker import BATCH, ITERATIONS

each_recipe = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory, request):
    """What both ranks ended with, of the recipes that were selected."""
    folder = tmp_path_factory.mktemp("ranks")
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    selected = {call.params.get("name") for call in calls if call}
    names = [name for name in NAMES if name in selected]
    run_forked("tests.recipes.two_ranks_worker", [str(folder), *names], world=2)
    return lambda name: [load_file(folder / f"{name}-{rank}.safetensors") for rank in (0, 1)]


@each_recipe
def test_ranks_hold_the_same(ranks, name):
    """Bit for bit: parameters, averages, spectral-norm vectors, batch-norm statistics."""
    first, second = ranks(name)
    for key in first.keys() - {"drawn"}:
        assert torch.equal(first[key], second[key]), key


@each_recipe
def test_two_ranks_see_the_images_of_one(ranks, name):
    """Every sample of each global batch once, by one of the ranks."""
    drawn = [rank["drawn"].reshape(-1, BATCH // 2) for rank in ranks(name)]
    together = torch.cat(drawn, dim=1).sort(dim=1).values.flatten().tolist()
    assert together == list(range(len(together))) and len(together) >= ITERATIONS * BATCH
