"""The order of the data: complete, reproducible for ever, and quick to enter anywhere."""

import time

import numpy as np
import pytest

from largegan.data.plan import OrderPlan, coin_flips, mix, permutation


@pytest.mark.parametrize("counts", [[7], [1, 1, 1], [5, 0, 3], [100] * 20, [1, 1200, 3, 77] * 5])
def test_every_epoch_holds_every_sample_once(counts: list[int]) -> None:
    plan = OrderPlan(np.array(counts), seed=3)
    total = sum(counts)
    epochs = [plan.indices(e * total, (e + 1) * total) for e in range(3)]
    for order in epochs:
        assert sorted(order) == list(range(total))
    if total > 10:
        assert (epochs[0] != epochs[1]).any() and (epochs[1] != epochs[2]).any()


def test_any_slice_is_a_slice_of_the_whole() -> None:
    """Positions may be asked for in any order and size, across windows and epochs."""
    counts = np.array([30, 11, 25, 1, 40] * 4)
    whole = OrderPlan(counts, seed=1).indices(0, 3 * counts.sum())
    rng = np.random.default_rng(0)
    plan = OrderPlan(counts, seed=1)
    for start in rng.integers(0, len(whole) - 1, 100):
        stop = min(len(whole), start + int(rng.integers(1, 300)))
        assert (plan.indices(start, stop) == whole[start:stop]).all()


def test_seeds_give_different_orders() -> None:
    orders = [OrderPlan(np.array([50] * 4), seed=s).indices(0, 200).tolist() for s in (0, 1, 2**40)]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_order_never_changes_with_a_release() -> None:
    """A run resumes under another numpy: these numbers are part of the checkpoint format."""
    assert permutation(8, seed=5, epoch=2, stream=1).tolist() == PERMUTATION
    assert OrderPlan(np.array([3, 4, 5]), seed=9).indices(8, 16).tolist() == ORDER
    assert mix(np.array([0, 1]), seed=7).tolist() == MIXED


PERMUTATION = [2, 3, 5, 1, 7, 4, 6, 0]
ORDER = [6, 10, 7, 9, 1, 2, 0, 7]
MIXED = [15337404600680133411, 13615431973392968899]


def test_a_window_keeps_to_a_few_shards() -> None:
    plan = OrderPlan(np.full(100, 10), seed=0)
    assert len(np.unique(plan.indices(0, 80) // 10)) == 8


def test_windows_of_one_size_have_their_own_orders() -> None:
    plan = OrderPlan(np.full(16, 10), seed=0)
    shards = permutation(16, seed=0, epoch=0, stream=0)
    places = []  # of each sample among those of its window, before they were permuted
    for window in range(2):
        first = {shard: 10 * i for i, shard in enumerate(shards[8 * window : 8 * window + 8])}
        drawn = plan.indices(80 * window, 80 * window + 80)
        places.append([first[i // 10] + i % 10 for i in drawn])
    assert sorted(places[0]) == sorted(places[1]) == list(range(80)) and places[0] != places[1]


def test_entering_ten_million_samples_is_quick() -> None:
    start = time.process_time()
    plan = OrderPlan(np.full(2500, 4000), seed=0)
    plan.indices(73_456_789, 73_456_789 + 256)
    assert time.process_time() - start < 0.5


def test_coins_are_fair_and_belong_to_positions() -> None:
    flips = coin_flips(4, np.arange(100_000))
    assert abs(flips.mean() - 0.5) < 0.01  # 6 standard deviations
    assert abs((flips[1:] == flips[:-1]).mean() - 0.5) < 0.01
    assert (coin_flips(4, np.arange(500, 600)) == flips[500:600]).all()
    assert (coin_flips(5, np.arange(100_000)) != flips).mean() > 0.4
