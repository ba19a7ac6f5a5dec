"""The content loss: its networks, what it gives gradients to, and missing weights."""

import pytest
import torch
from torch import nn

from largegan.errors import ConfigError, EnvironmentFault
from largegan.nets.content import ContentLoss, Features, feature_network, vgg19

TINY = "random:test_resnet"


def opened(name: str = TINY, **options) -> ContentLoss:
    content = ContentLoss(name, **options)
    content.open(torch.device("cpu"))
    return content


def test_equal_images_have_no_distance_and_only_fakes_learn():
    content = opened()
    fake, real = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    fake.requires_grad_(), real.requires_grad_()
    assert float(content(real, real)) == 0
    content(fake, real).backward()
    assert fake.grad.abs().sum() > 0 and real.grad is None
    assert not any(p.requires_grad for p in content.network.parameters())


def test_weight_and_distance():
    fake, real = torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32)
    once, thrice = (opened(weight=w)(fake, real) for w in (1.0, 3.0))
    torch.testing.assert_close(3 * once, thrice)
    network = opened().network
    torch.testing.assert_close(
        opened(distance="mse")(fake, real), (network(fake) - network(real)).square().mean()
    )


def test_random_weights_are_the_same_every_time_and_disturb_nobody():
    torch.manual_seed(7)
    wanted = torch.rand(1)
    torch.manual_seed(7)
    first, second = feature_network(TINY), feature_network(TINY)
    assert torch.equal(torch.rand(1), wanted)
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_stays_in_evaluation_mode_and_looks_at_places():
    network = feature_network(TINY)
    assert not network.training
    assert network(torch.rand(1, 3, 32, 32)).shape[-1] >= 32 // 8


def test_a_weight_of_zero_needs_no_network():
    assert opened("vgg19", weight=0.0).network is None


def test_missing_weights_are_named(monkeypatch, tmp_path):
    for name in ("LARGEGAN_WEIGHTS", "TORCH_HOME", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(EnvironmentFault, match=r"vgg19-dcbb9e9d.pth is not here .* fetch vgg19"):
        opened("vgg19")
    with pytest.raises(EnvironmentFault, match="resnet10t"):
        opened("resnet10t")


def test_no_such_network():
    with pytest.raises(ConfigError, match="'vgg17' is no network"):
        opened("vgg17")


def test_local_weights_are_taken(monkeypatch, tmp_path):
    """VGG19 from a file of its classifier's kind, as torchvision publishes it."""
    from largegan.metrics import weights

    network = vgg19(34)
    state = {f"features.{k}": torch.full_like(v, 0.01) for k, v in network.state_dict().items()}
    torch.save(state | {"classifier.0.bias": torch.zeros(1)}, tmp_path / "vgg.pth")
    monkeypatch.setattr(weights, "require", lambda name: (name, tmp_path / "vgg.pth"))
    found = feature_network("vgg19")
    assert all((p == 0.01).all() for p in found.network.parameters())


def test_the_node_is_before_the_activation():
    layers = vgg19(34)
    assert isinstance(layers[-1], nn.Conv2d)
    with torch.no_grad():
        assert float(Features(layers)(torch.rand(1, 3, 32, 32)).min()) < 0
