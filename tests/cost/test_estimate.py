"""Seconds and GiB by hand, for counts that can be done by hand."""

from dataclasses import replace

import pytest

from largegan.doctor.count import Count, Op, PhaseCount
from largegan.doctor.estimate import (
    CONTEXT_GIB,
    FRAGMENTS,
    Setting,
    iteration,
    memory_gib,
    op_s,
    phase_s,
)
from largegan.doctor.hardware import GPUS, HOP_S, LAUNCH_S, REACHED_BYTES, REACHED_FLOPS
from largegan.recipe import Phase

H100 = GPUS["h100"]
BIG = Op("aten::mm", 10**15, 0)  # a petaFLOP, and no bytes
M = 2**28  # parameters that make a GiB in float32


def loss(batch, at):
    return {}


def counted(**phase) -> Count:
    made = Phase("G", loss, **phase)
    ops = [BIG, BIG, BIG]
    return Count(
        4, [PhaseCount(made, ops, 1, 2**30, 0)], {"G": M}, {"G": 2}, averages=M, followed={"G": M}
    )


def setting(**changes) -> Setting:
    return replace(Setting(32, 8, H100, "bf16", {"G": "replicated"}), **changes)


def test_an_operation_is_bound_by_its_worst():
    fast = 989e12 * REACHED_FLOPS
    assert op_s(BIG, H100, "bf16") == pytest.approx(1e15 / fast)
    wide = Op("aten::add", 0, 10**12)
    assert op_s(wide, H100, "fp32") == pytest.approx(1e12 / (3.35e12 * REACHED_BYTES))
    assert op_s(wide, H100, "bf16") == pytest.approx(op_s(wide, H100, "fp32") / 2)
    assert op_s(Op("aten::add", 0, 4), H100, "fp32") == LAUNCH_S


def test_float32_convolutions_run_in_tf32():
    conv = Op("aten::convolution", 10**15, 0)
    assert op_s(conv, H100, "fp32") == op_s(BIG, H100, "tf32") < op_s(BIG, H100, "fp32")


def test_second_order_phases_are_not_autocast():
    first, second = (counted(second_order=order).phases[0] for order in (False, True))
    assert phase_s(first, setting())[0] == op_s(BIG, H100, "bf16")
    assert phase_s(second, setting())[0] == op_s(BIG, H100, "fp32")


def test_an_all_reduce():
    """A GB on two nodes of eight: scattered and gathered in the node, ring on eight cards."""
    inside, between = 2 * 7 / 8 * 1e9 / (450e9 * 0.8), 2 * 1 / 2 * 1e9 / 8 / (50e9 * 0.8)
    assert H100.all_reduce_s(1e9, 16) == pytest.approx(inside + between + 3 * HOP_S)
    assert H100.all_reduce_s(1e9, 1) == 0


def test_an_iteration():
    """32 images on 8 GPUs are one micro-batch of 4; a lazy phase counts by its share."""
    one = iteration(counted(), setting())
    assert one.compute_s > 3 * op_s(BIG, H100, "bf16")
    assert one.images_per_s == pytest.approx(32 / (one.compute_s + one.links_s + one.waiting_s))
    assert one.link_bytes == 2**30 and one.binding == "compute"
    lazy = iteration(counted(every=4), setting())
    assert lazy.compute_s < one.compute_s and lazy.link_bytes == one.link_bytes / 4
    twice = iteration(counted(), setting(batch_size=64))  # two micro-batches, one reduction
    assert twice.link_bytes == one.link_bytes
    assert twice.compute_s - one.compute_s == pytest.approx(3 * op_s(BIG, H100, "bf16"))


def test_many_small_operations_are_bound_by_their_launches():
    tiny = [Op("aten::add", 0, 4)] * 50_000
    phase = replace(counted().phases[0], ops=tiny)
    one = iteration(replace(counted(), phases=[phase], averages=0), setting())
    assert one.binding == "launches"
    assert one.launch_s == pytest.approx(50_000 * LAUNCH_S) and one.launch_s < one.compute_s
    assert iteration(counted(), setting()).launch_s == 0


def test_backward_hides_links():
    """Two petaFLOP of backward hide a GiB but for its last bucket; ZeRO hides nothing."""
    hidden = iteration(counted(), setting()).links_s
    assert hidden == pytest.approx(H100.all_reduce_s(25 * 2**20, 8))
    whole = iteration(counted(), setting(engines={"G": "zero1"})).links_s
    assert whole == pytest.approx(H100.all_reduce_s(2**30, 8))


@pytest.mark.parametrize(
    ("engine", "weights", "gradients", "optimizer"),
    [
        ("replicated", 1, 1, 2),
        ("zero1", 1, 1, 3 / 8),
        ("zero3", 1 / 8, 1 / 8, 3 / 8),
        ("fsdp2", 1 / 8, 1 / 8, 2 / 8),
    ],
)
def test_memory(engine, weights, gradients, optimizer):
    found = memory_gib(counted(), setting(engines={"G": engine}))
    assert found["weights"] == weights and found["gradients"] == gradients
    averages = 1 / 8 if engine in ("zero3", "fsdp2") else 1  # cut where weights are
    assert found["optimizer"] == optimizer and found["averages"] == averages
    # bf16; gradients in buckets, or gathered weights and their gradients for the phase
    activations = 0.5 + {"replicated": 1, "zero1": 0}.get(engine, 2)
    assert found["activations"] == activations
    used = weights + gradients + optimizer + averages + activations
    assert sum(found.values()) == pytest.approx(CONTEXT_GIB + FRAGMENTS * used)
