"""Examples that training leaves aside: evenly spread, each on one side only."""

import numpy as np
import pytest

from largegan.data import Domains, open_data
from largegan.data.held_out import hold_out
from largegan.data.plan import OrderPlan
from largegan.errors import ConfigError

NUMBERS = "synthetic:gaussian"


@pytest.mark.parametrize("count", [1, 7, 600, 1632])
def test_each_example_is_on_one_side(count):
    source = open_data("bundled:noto32")
    kept, held = hold_out(source, count)
    assert held.info.count == count == held.counts.sum()
    assert kept.info.count == 1633 - count == kept.counts.sum()
    both = np.concatenate([kept.numbers, held.numbers])
    assert sorted(both) == list(range(1633))
    gaps = np.diff(held.numbers)
    assert count == 1 or gaps.max() - gaps.min() <= 1
    assert len({source.info.identity, kept.info.identity, held.info.identity}) == 3


def test_a_part_is_read_and_ordered_as_a_source_is():
    source = open_data("bundled:noto32")
    kept, held = hold_out(source, 100)
    order = OrderPlan(kept.counts, seed=3).indices(0, 1533)
    assert sorted(order) == list(range(1533))
    batch = kept.read(order[:5])
    assert batch["index"].tolist() == kept.numbers[order[:5]].tolist()
    whole = source.read(kept.numbers[order[:5]])
    assert all((batch[key] == whole[key]).all() for key in whole)
    assert not set(kept.read(np.arange(1533))["index"].tolist()) & set(held.numbers.tolist())


def test_of_two_domains_each_holds_out_as_many():
    source = open_data("bundled:noto32")
    kept, held = hold_out(Domains(source, source), 33)
    assert (kept.info.count, held.info.count) == (1600, 33)
    assert held.read(np.arange(40))["image_a"].shape[0] == 40  # it starts again


def test_numbers_can_be_held_out():
    kept, held = hold_out(open_data(NUMBERS), 1000)
    assert held.read(np.arange(3))["x"].shape == (3, 1)
    assert kept.info.count + 1000 == open_data(NUMBERS).info.count


@pytest.mark.parametrize("count", [1633, 5000])
def test_nothing_left_is_refused(count):
    with pytest.raises(ConfigError, match="of 1633 examples, which leaves none to train on"):
        hold_out(open_data("bundled:noto32"), count)
