"""Super-resolution networks: sizes, what a pixel depends on, and who is refused."""

import pytest
import torch

from largegan.errors import ConfigError
from largegan.nets.upscalers import Upscaler, check_scale, judge, upscaler

KINDS = [
    ("srresnet", 2), ("srresnet", 3), ("srresnet", 4), ("srresnet", 6),
    ("msrresnet", 2), ("msrresnet", 3), ("msrresnet", 4), ("rrdb", 2), ("rrdb", 4),
]  # fmt: skip


def build(name: str, scale: int, channels: int = 1) -> Upscaler:
    torch.manual_seed(0)
    net = upscaler(
        name, image_channels=channels, channels=4, blocks=1, scale=scale, norm="batch"
    ).eval()
    for module in net.modules():  # every path counts: no ReLU that happens to be off
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data.abs_().clamp_(min=0.05)
    return Upscaler(net)


@pytest.mark.parametrize("name, scale", KINDS)
def test_sizes_and_range(name, scale):
    enlarge = build(name, scale, channels=3)
    found = enlarge(torch.rand(2, 3, 6, 8) * 2 - 1)
    assert found.shape == (2, 3, 6 * scale, 8 * scale) and enlarge.scale == scale
    assert found.abs().max() <= 1


@pytest.mark.parametrize("name, scale", KINDS)
def test_halo_is_how_far_a_pixel_sees(name, scale):
    """A change beyond the halo does not reach the middle; one at its edge nearly does."""
    enlarge = build(name, scale).double()
    side = 2 * enlarge.halo + 12
    middle = side // 2
    image = torch.full((1, 1, side, side), -0.9, dtype=torch.float64, requires_grad=True)
    patch = enlarge.net((image + 1) / 2)[..., middle * scale : middle * scale + scale, :]
    (gradient,) = torch.autograd.grad(
        patch[..., middle * scale : (middle + 1) * scale].sum(), image
    )
    rows = gradient[0, 0].abs().sum(1).nonzero().flatten()
    reach = max(middle - int(rows.min()), int(rows.max()) - middle)
    assert reach <= enlarge.halo
    assert enlarge.halo - reach <= 8 * enlarge.multiple, "and it is not far from the truth"


@pytest.mark.parametrize("size", [16, 24, 32, 48, 96])
def test_the_papers_discriminator_takes_any_size(size):
    D = judge("srgan", size=(size, size), image_channels=3, channels=2, norm="batch")
    assert D(torch.rand(2, 3, size, size)).shape == (2,)


@pytest.mark.parametrize("size, pairs", [(16, 2), (32, 3), (128, 5), (256, 6)])
def test_the_vgg_discriminator_has_a_pair_for_every_halving(size, pairs):
    D = judge("vgg", size=(size, size), image_channels=1, channels=2, norm="none")
    assert len(D.convs) == 2 * pairs and D(torch.rand(2, 1, size, size)).shape == (2,)


def test_a_unet_judges_every_pixel():
    D = judge("unet", size=(16, 24), image_channels=3, channels=2, norm="batch")
    assert D(torch.rand(2, 3, 16, 24)).shape == (2, 1, 16, 24)


@pytest.mark.parametrize(
    "attempt, says",
    [
        (lambda: check_scale(4, (30, 32)), "recipe.scale 4 does not divide images of 30x32"),
        (lambda: check_scale(1, (32, 32)), "recipe.scale 1 enlarges nothing"),
        (lambda: build("rrdb", 3), "enlarges by 1, 2 or 4, not by 3"),
        (lambda: judge("vgg", size=(48, 48), image_channels=3, channels=2, norm="batch"), "not 48"),
        (
            lambda: judge("srgan", size=(48, 32), image_channels=3, channels=2, norm="batch"),
            "squar",
        ),
        (lambda: judge("unet", size=(20, 24), image_channels=3, channels=2, norm="none"), "20x24"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(attempt, says):
    with pytest.raises(ConfigError, match=says):
        attempt()
