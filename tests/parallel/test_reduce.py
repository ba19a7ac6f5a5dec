"""Which bucket of gradients leaves when: one reduction, in a group of one process.

That the sums are right, whatever leaves when, is tried on two processes in `test_engines.py`.
"""

import pytest
import torch
import torch.distributed as dist
from torch import nn

from largegan.parallel.reduce import GradientReduction, in_buckets


@pytest.fixture(scope="module", autouse=True)
def group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def phase():
    """phase(LAYERS, second_order=...): of three layers, each a bucket, LAYERS in that order.

    Returns how many buckets left during backward, and which have to go again.
    """
    torch.manual_seed(0)
    layers = [nn.Linear(1, 1, bias=False) for _ in range(3)]
    params = [layer.weight for layer in layers]
    reduction = GradientReduction(params, overlap=True, bucket_bytes=1)

    def run(order: list[int], *, second_order: bool = False) -> tuple[int, set[int]]:
        for p in params:
            p.grad = None
        x = torch.ones(1)
        for i in order:
            x = layers[i](x)
        reduction.begin(second_order=second_order)
        reduction.arm()
        x.sum().backward()
        reduction.disarm()
        found = len(reduction.trips), set(reduction.stale)
        reduction.finish([torch.zeros(1)])
        assert all(p.grad is not None for p in params)
        return found

    return run


ALL, ALL_BUT_LAST, LAST_COMES_LATE = [0, 1, 2], [0, 1], [2, 1, 0]
EARLY = (2, set())  # all but the one that takes the verdict along


def test_buckets_leave_while_backward_runs(phase):
    assert phase(ALL) == EARLY


def test_what_a_phase_never_used_is_not_waited_for(phase):
    """Known after the first time; and first- and second-order phases are known apart."""
    assert phase(ALL) == EARLY
    assert phase(ALL_BUT_LAST, second_order=True) == (0, set())
    assert phase(ALL_BUT_LAST, second_order=True) == EARLY
    assert phase(ALL) == EARLY


def test_what_a_phase_once_used_is_waited_for(phase):
    """Else its bucket would leave without it, and travel twice."""
    phase(ALL)
    phase(ALL_BUT_LAST)
    assert phase(LAST_COMES_LATE) == EARLY


def test_what_comes_too_late_goes_again(phase):
    phase(ALL_BUT_LAST)
    assert phase(LAST_COMES_LATE) == (2, {0})
    assert phase(LAST_COMES_LATE) == EARLY


def test_neighbours_share_a_bucket_until_it_is_full():
    tensors = [torch.zeros(n) for n in (2, 1, 5, 1)]  # of 4 bytes each
    assert [[len(t) for t in bucket] for bucket in in_buckets(tensors, 12)] == [[2, 1], [5], [1]]
