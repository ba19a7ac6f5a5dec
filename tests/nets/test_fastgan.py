"""FastGAN's generator at every size, and the mixing of a backbone's features."""

import pytest
import torch

from largegan.nets.fastgan import EXCITES, WIDTHS, Generator
from largegan.nets.projected import Discriminators, Projector

CHANNELS = [6, 10, 14, 18]


@pytest.mark.parametrize("size", [8, 16, 32, 64, 128, 256])
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("lite", [True, False])
def test_every_size_is_made(size, classes, lite):
    net = Generator(size, z_dim=4, channels=4, num_classes=classes, lite=lite, image_channels=2)
    labels = torch.tensor([2, 0]) if classes else None
    assert net(torch.randn(2, 4), labels).shape == (2, 2, size, size)
    assert set(net.excite) == {str(high) for high in EXCITES if high <= size}
    assert net.to_image.in_channels == max(1, int(WIDTHS[size] * 4))


def test_samples_are_the_same_every_time_and_training_draws_noise():
    net = Generator(16, z_dim=4, channels=4)
    for block in net.up.values():
        for noise in block.noises:
            noise.weight.data.fill_(1.0)
    z = torch.randn(2, 4)
    with torch.no_grad():
        net(z)
        assert not torch.equal(net(z), net(z))
        net.eval()
        assert torch.equal(net(z), net(z))
        # Only the direction of a latent counts.
        torch.testing.assert_close(net(z), net(3 * z), rtol=1e-3, atol=1e-4)


def test_an_excitation_weighs_whole_channels():
    excite = Generator(64, z_dim=4, channels=4).excite["64"]
    low, high = torch.randn(2, 64, 4, 4), torch.randn(2, 8, 64, 64)
    for _ in range(10):  # as in training: singular values are found
        excite(low, high)
    excite.eval()
    weights = excite(low, torch.ones_like(high))
    assert ((weights >= 0) & (weights <= 1)).all() and len(weights.unique()) > 2
    assert torch.equal(weights, weights[:, :, :1, :1].expand_as(weights))
    torch.testing.assert_close(excite(low, high), weights * high)


@pytest.mark.parametrize(
    ("mixing", "expand", "widths", "factor"),
    [
        ("none", True, CHANNELS, 1),
        ("channels", False, [8] * 4, 1),
        ("channels", True, [8, 16, 32, 64], 1),
        ("scales", False, [8] * 4, 2),
        ("scales", True, [8, 8, 16, 32], 2),
    ],
)
def test_mixed_maps_have_their_sizes(mixing, expand, widths, factor):
    projector = Projector(CHANNELS, features=8, expand=expand, mixing=mixing)
    maps = [torch.randn(2, c, 32 >> i, 32 >> i) for i, c in enumerate(CHANNELS)]
    mixed = projector(maps)
    assert projector.widths == widths
    assert [m.shape for m in mixed] == [
        (2, w, (32 >> i) * factor, (32 >> i) * factor) for i, w in enumerate(widths)
    ]
    assert not any(p.requires_grad for p in projector.parameters())


def test_a_coarse_map_reaches_every_finer_one_and_no_other_way():
    projector = Projector(CHANNELS, features=8, expand=True, mixing="scales")
    maps = [torch.randn(1, c, 32 >> i, 32 >> i) for i, c in enumerate(CHANNELS)]
    before = projector(maps)
    for changed in range(4):
        others = [m + 1 if i == changed else m for i, m in enumerate(maps)]
        differs = [not torch.equal(a, b) for a, b in zip(before, projector(others), strict=True)]
        assert differs == [i <= changed for i in range(4)]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("classes", [0, 5])
@pytest.mark.parametrize("patch", [True, False])
@pytest.mark.parametrize("separable", [True, False])
def test_judges_give_a_logit_a_place(count, classes, patch, separable):
    projector = Projector(CHANNELS, features=4, expand=False, mixing="scales")
    judges = Discriminators(
        projector, count=count, num_classes=classes, patch=patch, separable=separable
    )
    size = 128
    maps = projector(
        [torch.randn(2, c, size // 4 >> i, size // 4 >> i) for i, c in enumerate(CHANNELS)]
    )
    labels = torch.tensor([4, 1]) if classes else None
    logits = judges(maps, labels)
    smallest = judges.smallest_map(size)
    assert smallest == min(
        m.shape[2] >> len(judge.down) for m, judge in zip(maps, judges.scales, strict=False)
    )
    sides = [
        (m.shape[2] >> len(judge.down)) - 3 for m, judge in zip(maps, judges.scales, strict=False)
    ]
    assert logits.shape == (2, sum(side**2 for side in sides))
    if classes:
        assert not torch.allclose(logits, judges(maps, labels.flip(0)))
