"""Conditional batch norm, and forwards that leave running statistics alone."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from largegan.layers.cond_norm import ConditionalBatchNorm2d, frozen_statistics
from largegan.layers.spectral_norm import SNLinear


def test_it_starts_as_batch_norm():
    layer, x = ConditionalBatchNorm2d(3, 4), torch.randn(5, 3, 2, 2)
    condition = F.one_hot(torch.arange(5) % 4, 4).float()
    torch.testing.assert_close(layer(x, condition), nn.BatchNorm2d(3)(x))


@pytest.mark.parametrize("normalize", [True, False])
def test_each_example_has_the_gain_and_bias_of_its_class(normalize):
    layer, x = ConditionalBatchNorm2d(3, 4, normalize=normalize), torch.randn(2, 3, 2, 2)
    nn.init.normal_(layer.gain.weight)
    nn.init.normal_(layer.bias.weight)
    y = layer(x, F.one_hot(torch.tensor([2, 0]), 4).float())
    base = F.batch_norm(x, None, None, training=True) if normalize else x
    for n, label in enumerate((2, 0)):
        gain, bias = 1 + layer.gain.weight[:, label], layer.bias.weight[:, label]
        expected = base[n] * gain[:, None, None] + bias[:, None, None]
        torch.testing.assert_close(y[n], expected)


def test_its_maps_can_be_spectrally_normalised():
    layer = ConditionalBatchNorm2d(3, 4, linear=SNLinear)
    assert layer(torch.randn(2, 3, 2, 2), torch.eye(4)[:2]).isfinite().all()


@pytest.mark.parametrize("kind", ["plain", "conditional"])
def test_frozen_statistics(kind):
    x = torch.randn(6, 3, 2, 2)
    if kind == "plain":
        net = nn.Sequential(nn.BatchNorm2d(3))
        forward = net
    else:
        net = ConditionalBatchNorm2d(3, 4)

        def forward(x):
            return net(x, torch.eye(4)[torch.zeros(6, dtype=torch.long)])

    before = {name: value.clone() for name, value in net.state_dict().items()}
    with frozen_statistics(net):
        inside = forward(x)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    torch.testing.assert_close(inside, forward(x))  # the same batch statistics
    assert not all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_frozen_statistics_end_with_an_error_too():
    net = nn.BatchNorm2d(3)
    with pytest.raises(ZeroDivisionError), frozen_statistics(net):
        raise ZeroDivisionError
    assert net.track_running_stats
