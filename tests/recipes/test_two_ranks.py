"""The part of the suite that needs two real processes: ranks agree, and share the images.

That they take the steps of one process, under any engine: `tests/parallel/test_product.py`.
"""

import json

import pytest
import torch
from safetensors.torch import load_file

from tests.forked import run_ranks
from tests.health.watching import signals_after, watched
from tests.recipes.common import NAMES
from tests.recipes.two_ranks_worker import BATCH, ITERATIONS

each_recipe = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, request):
    """Where both ranks left what they ended with, of the recipes that were selected."""
    folder = tmp_path_factory.mktemp("ranks")
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    selected = {call.params.get("name") for call in calls if call}
    names = [name for name in NAMES if name in selected]
    words = ["-m", "tests.recipes.two_ranks_worker", str(folder), *names]
    run_ranks(words, world=2, timeout_s=600)
    return folder


@pytest.fixture(scope="module")
def ranks(folder):
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


@each_recipe
def test_ranks_say_the_same_of_their_health(folder, name):
    first, second = (json.loads((folder / f"{name}-{rank}.json").read_text()) for rank in (0, 1))
    assert first == second


@pytest.mark.parametrize("name", ["gan", "dcgan", "wgan_gp", "lapgan"])
def test_two_ranks_say_what_one_process_says(folder, name):
    """Signals and what is said of held-out examples, in micro-batches of the same images."""
    both = json.loads((folder / f"{name}-0.json").read_text())
    one = signals_after(watched(name, batch_size=BATCH, micro_batch_size=BATCH // 2), ITERATIONS)
    assert both.keys() == one.keys()
    for key, value in one.items():
        assert both[key] == pytest.approx(value, rel=2e-3, abs=1e-4), key
