import pytest
import torch
from torch import nn

from largegan.ema import Ema
from largegan.recipe import Progress


def test_halflife_is_counted_in_images():
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    average = Ema(net, halflife_nimg=1000, rampup=None)
    nn.init.ones_(net.weight)
    for i in range(10):
        average.update(net, Progress(i + 1, (i + 1) * 100), 100)
    assert average.net.weight.item() == pytest.approx(0.5, abs=1e-6)


def test_rampup_shortens_the_halflife_early():
    average = Ema(nn.Linear(1, 1), halflife_nimg=1000, rampup=0.05)
    assert average.beta(Progress(1, 100), 10) == pytest.approx(0.5 ** (10 / 5))
    assert average.beta(Progress(1, 10**6), 10) == pytest.approx(0.5 ** (10 / 1000))


def test_zero_halflife_is_a_copy():
    net = nn.BatchNorm1d(3)
    average = Ema(net, halflife_nimg=0)
    nn.init.normal_(net.weight)
    net(torch.randn(8, 3))
    average.update(net, Progress(1, 8), 8)
    for a, b in zip(average.net.state_dict().values(), net.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("average_buffers", [True, False])
def test_buffers_are_averaged_or_copied(average_buffers):
    net = nn.BatchNorm1d(1)
    average = Ema(net, halflife_nimg=100, rampup=None, average_buffers=average_buffers)
    net.running_mean.fill_(1.0)
    net.num_batches_tracked.fill_(7)
    average.update(net, Progress(1, 100), 100)
    assert average.net.running_mean.item() == pytest.approx(0.5 if average_buffers else 1.0)
    assert average.net.num_batches_tracked.item() == 7


def test_average_never_trains():
    average = Ema(nn.Sequential(nn.BatchNorm1d(2)))
    average.train()
    assert not average.net.training
    assert not any(p.requires_grad for p in average.parameters())
