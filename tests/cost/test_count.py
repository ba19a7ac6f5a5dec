"""What is counted on tensors without data is what runs on tensors with data."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from largegan import ops
from largegan.doctor.count import Counter, count, without_autocast
from largegan.recipe import Progress
from largegan.recipes import build
from tests.recipes.common import IMAGES, TINY, ToyStream, make_recipe

TorchCounter = partial(FlopCounterMode, display=False)


def made(name: str, **options):
    make = partial(build, name, IMAGES, TINY[name] | options)
    return count(make, IMAGES, micro_batch_size=4, world=1)


# torch's own counter does not look into our operators, which wgan_gp's second order is made of.
@pytest.mark.parametrize(("name", "counter"), [("sngan", TorchCounter), ("wgan_gp", Counter)])
def test_flops_are_those_of_a_real_phase(name, counter):
    recipe = make_recipe(name)
    (batch,) = ToyStream(IMAGES, batch_size=4, micro_batch_size=4).next_batch()
    for phase, counted in zip(recipe.phases, made(name).phases, strict=True):
        for player, moved in recipe.players.items():
            for p in moved.parameters():
                p.requires_grad_(player == phase.player)
        with counter() as real:
            sum(phase.loss(batch, Progress()).values()).backward()
        assert counted.flops == total(real) > 0, phase.name


def total(counter: FlopCounterMode | Counter) -> int:
    if isinstance(counter, Counter):
        return sum(op.flops for op in counter.ops)
    return counter.get_total_flops()


def test_flops_of_our_convolutions():
    """As those of torch's, for the output and both gradients."""

    def flops(convolve) -> int:
        x = torch.empty(2, 6, 9, 9, device="meta", requires_grad=True)
        w = torch.empty(4, 6, 3, 3, device="meta", requires_grad=True)
        with without_autocast(), Counter() as counter:
            convolve(x, w, stride=2, padding=1).sum().backward()
        return total(counter)

    assert flops(ops.conv2d) == flops(F.conv2d) == 3 * 2 * (2 * 4 * 5 * 5) * (6 * 3 * 3)


def test_bytes_are_moved_once_and_views_move_none():
    x = torch.empty(10, 10, device="meta")
    with Counter() as counter:
        y = x.t()[2:4] + 1
        y.expand(5, 2, 10).sum()
    assert [(op.name, op.bytes) for op in counter.ops] == [
        ("aten::add", 4 * (20 + 20)),
        ("aten::sum", 4 * (20 + 1)),
    ]


def test_sizes():
    found = made("sngan")
    recipe = make_recipe("sngan")
    for name, player in recipe.players.items():
        assert found.parameters[name] == sum(p.numel() for p in player.parameters())
    assert found.moments == {"D": 2, "G": 2}
    assert found.averages == (found.parameters["G"] if hasattr(recipe, "G_ema") else 0)
    assert found.averages == sum(found.followed.values())


def test_activations_grow_with_the_batch_and_weights_do_not_count():
    make = partial(build, "dcgan", IMAGES, TINY["dcgan"])
    few, many = (count(make, IMAGES, micro_batch_size=n, world=1) for n in (4, 8))
    for a, b in zip(few.phases, many.phases, strict=True):
        assert 1.9 * a.kept_bytes < b.kept_bytes < 2.1 * a.kept_bytes


def test_means_over_ranks_are_counted():
    make = partial(build, "biggan", IMAGES, TINY["biggan"])
    alone, among = (count(make, IMAGES, micro_batch_size=4, world=n) for n in (1, 8))
    assert [p.rank_means for p in alone.phases] == [0, 0]
    norms = sum(hasattr(m, "mean_over_ranks") for m in make().G.modules())
    assert among.phases[1].rank_means == 2 * norms  # mean and variance
