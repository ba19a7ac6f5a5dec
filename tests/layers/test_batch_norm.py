"""Batch norm that can span ranks, on one process: torch's own, and an imitated second rank."""

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck

from largegan.layers.batch_norm import BatchNorm2d
from largegan.sampler.standing import standing_statistics


def identity_mean(x):
    """What the mean over one rank is: sends a lone process down the way of several."""
    return x


def together(**options) -> BatchNorm2d:
    norm = BatchNorm2d(3, **options)
    norm.mean_over_ranks = identity_mean
    return norm


@pytest.mark.parametrize("affine", [True, False])
def test_its_own_arithmetic_is_torchs(affine):
    ours, torchs = together(affine=affine), nn.BatchNorm2d(3, affine=affine)
    for shift in (0.0, 100.0):  # a mean far from zero costs no digits
        x = torch.randn(4, 3, 5, 5) + shift
        torch.testing.assert_close(ours(x), torchs(x), rtol=1e-4, atol=1e-4)
    for name, value in torchs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
    x = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(ours.eval()(x), torchs.eval()(x))


def test_biased_variance():
    ours, torchs, x = BatchNorm2d(3, biased=True), nn.BatchNorm2d(3), torch.randn(2, 3, 1, 2)
    torch.testing.assert_close(ours(x), torchs(x))
    wanted = 0.9 + 0.1 * x.var((0, 2, 3), correction=0)
    torch.testing.assert_close(ours.running_var, wanted)
    assert not torch.allclose(torchs.running_var, wanted)


def test_every_rank_counts_in_the_unbiased_variance():
    norm, x = together(), torch.randn(2, 3, 1, 2)
    norm.ranks = 2
    norm(x)
    whole = x.var((0, 2, 3), correction=0) * 8 / 7  # 4 numbers here and 4 there
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * whole)


def test_exact_to_second_order():
    norm = together().double()
    x = torch.randn(3, 3, 2, 1, dtype=torch.float64, requires_grad=True)
    assert gradcheck(norm, x)
    assert gradgradcheck(norm, x)


def test_switched_off_and_evaluating_it_asks_nobody():
    def refuse(x):
        raise AssertionError("no collective may run here")

    x = torch.randn(2, 3, 2, 2)
    alone = BatchNorm2d(3, cross_rank=False)
    alone.mean_over_ranks = refuse
    alone(x)
    norm = BatchNorm2d(3).eval()
    norm.mean_over_ranks = refuse
    norm(x)


@pytest.mark.parametrize("make", [BatchNorm2d, together], ids=["alone", "together"])
def test_standing_statistics_are_plain_means(make):
    norm = nn.BatchNorm2d(3) if make is BatchNorm2d else together()
    batches = torch.randn(4, 5, 3, 2, 2)
    norm(batches[0] + 7)  # what training has seen does not count
    norm.eval()
    with standing_statistics(nn.ModuleList([norm])):
        for x in batches:
            norm(x)
    torch.testing.assert_close(norm.running_mean, batches.mean((0, 1, 3, 4)))
    torch.testing.assert_close(norm.running_var, batches.var((1, 3, 4)).mean(0))
    assert not norm.training and norm.momentum == 0.1 and norm.num_batches_tracked == 1
