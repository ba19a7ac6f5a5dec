"""Every engine on two real processes: what each rank holds, draws, and does with a bad step.

That their steps are those of one process, and their checkpoints each other's: `test_product.py`.
"""

import json
import math

import pytest
import torch

from tests.parallel.forking import run_forked
from tests.parallel.product import ENGINES
from tests.parallel.toy import Toy
from tests.recipes.common import IMAGES

each_engine = pytest.mark.parametrize("engine", ENGINES)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What both ranks found."""
    folder = tmp_path_factory.mktemp("engines")
    run_forked("tests.parallel.engines_worker", [str(folder)], world=2)
    return [json.loads((folder / f"rank{r}.json").read_text()) for r in (0, 1)]


def test_optimizer_memory_shrinks(ranks):
    """The two ranks of ZeRO and FSDP2 hold together what each holds of replicated moments."""
    held = {engine: [rank[engine]["moment_bytes"] for rank in ranks] for engine in ENGINES}
    torch.manual_seed(0)
    players = Toy(IMAGES).players
    params = [(name, p) for name, player in players.items() for p in player.parameters()]
    size = {p: 8 if name == "G" else 4 for name, p in params}  # two float32 moments, or one
    whole = sum(size[p] * p.numel() for _, p in params)
    assert held["replicated"] == held["without overlap"] == [whole, whole]
    for engine in ("zero1", "zero2", "zero3"):  # equal parts, padded by a few numbers
        assert held[engine][0] == held[engine][1] and whole / 2 <= held[engine][0] < whole / 2 + 128
    first = sum(size[p] * math.ceil(p.numel() / 2) for _, p in params)  # rank 0 has the odd ones
    assert held["fsdp2"] == [first, whole - first] and first < 0.52 * whole


def test_weights_and_averages_are_cut_between_phases(ranks):
    """Networks hold none of a player that is cut; of averages each rank has its pieces."""
    torch.manual_seed(0)
    toy = Toy(IMAGES)
    averaged = [p.numel() for p in toy.G.parameters()]
    weights = 4 * sum(p.numel() for player in toy.players.values() for p in player.parameters())
    first = 4 * sum(math.ceil(n / 2) for n in averaged)
    for engine in ENGINES:
        held = [rank[engine]["average_bytes"] for rank in ranks]
        of_networks = {rank[engine]["weight_bytes"] for rank in ranks}
        if engine in ("zero3", "fsdp2"):
            assert held == [first, 4 * sum(averaged) - first] and of_networks == {0}
        elif engine != "mixed":
            assert held == [4 * sum(averaged)] * 2 and of_networks == {weights}


def test_what_a_loss_does_not_read_stays_cut(ranks):
    """D while G's path lengths are measured; both while averages move."""
    for engine in ENGINES:
        for unread in (rank[engine]["unread_bytes"] for rank in ranks):
            assert unread.keys() == {"path_length", "after_iteration"}
            if engine in ("zero3", "fsdp2"):
                assert not any(unread.values())
            elif engine != "mixed":
                assert all(unread.values())


@each_engine
def test_a_bad_step_is_skipped_without_a_trace(ranks, engine):
    assert all(result[engine]["skipped"] for result in ranks)


@each_engine
def test_rank_0_draws_alone(ranks, engine):
    picture = ranks[0][engine]["picture"]
    assert len(picture) == 2 * 3 * 16 * 16
    assert picture == pytest.approx(ranks[0]["replicated"]["picture"], abs=1e-5)
