"""R3GAN's networks: start, any size, groups, classes, sixteen bits; what cannot be is refused."""

import pytest
import torch

from largegan.errors import ConfigError
from largegan.losses import r1
from largegan.nets.r3gan import Discriminator, Generator, TrunkOptions, smallest_size

LISTS = {"widths": [8, 8, 4], "groups": [4, 2, 2], "blocks": [2, 1, 1]}


def pair(height: int, width: int, *, channels: int = 3, c_dim: int = 0, **options):
    torch.manual_seed(0)
    trunk = TrunkOptions(**LISTS | {"image_channels": channels, "c_dim": c_dim} | options)
    return (
        Generator(height, width, trunk, z_dim=5, embed_dim=3),
        Discriminator(height, width, trunk, embed_dim=6),
    )


def wake(*nets) -> None:
    """The last convolutions of residual branches start at zero: let them do something."""
    for net in nets:
        for stage in net.stages:
            for block in stage:
                torch.nn.init.normal_(block.project.weight, std=0.3)


@pytest.mark.parametrize("size", [(16, 16), (16, 24), (12, 40)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("c_dim", [0, 3])
def test_any_size_channels_and_classes_to_second_order(size, channels, c_dim):
    G, D = pair(*size, channels=channels, c_dim=c_dim)
    wake(G, D)
    c = torch.eye(3)[[0, 2]] if c_dim else None
    images = G(torch.randn(2, 5), c)
    assert images.shape == (2, channels, *size)
    real = images.detach().requires_grad_()
    scores = D(real, c)
    assert scores.shape == (2,)
    r1(scores, real).backward()
    biases = [p for n, p in D.named_parameters() if n.endswith("bias")]
    others = [p for n, p in D.named_parameters() if not n.endswith("bias")]
    assert all(p.grad.isfinite().all() and p.grad.any() for p in others)
    assert biases


def test_residual_branches_start_at_zero_and_depth_scales_the_others():
    G, _ = pair(16, 16)
    block = G.stages[0][0]
    assert not block.project.weight.any()
    x = torch.randn(2, 8, 4, 4)
    assert torch.equal(block(x), x)
    wide = TrunkOptions(widths=8 * [64], groups=8 * [4], blocks=8 * [4], expansion=2)
    many = Generator(512, 512, wide, z_dim=5)
    expected = (2 / 1.04) ** 0.5 / 64**0.5 * 32**-0.25
    assert float(many.stages[0][0].expand.weight.detach().std()) == pytest.approx(
        expected, rel=0.05
    )
    fan_in = 128 // 4 * 9
    expected = (2 / 1.04) ** 0.5 / fan_in**0.5 * 32**-0.25
    assert float(many.stages[3][1].mix.weight.detach().std()) == pytest.approx(expected, rel=0.05)


def test_images_do_not_meet():
    G, D = pair(16, 16)
    wake(G, D)
    images = torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(D(images)[1:2], D(images[1:2]))


def test_biases_are_in_activations_only():
    G, _ = pair(16, 16, c_dim=3)
    names = [n for n, p in G.named_parameters() if n.endswith("bias")]
    assert len(names) == 2 * 4 and all(".act" in n for n in names)


def test_widths_that_stay_need_no_convolution():
    G, D = pair(16, 16)
    assert not list(G.ups[0].parameters()) and list(G.ups[1].parameters())
    assert not list(D.downs[0].parameters()) and list(D.downs[1].parameters())


@pytest.mark.parametrize("sixteen_bit", [0, 1, 3])
def test_sixteen_bits_near_the_image_only(sixteen_bit):
    G, D = pair(16, 16, sixteen_bit=sixteen_bit)
    wake(G, D)
    types = {"G": [], "D": []}
    for name, net in (("G", G), ("D", D)):
        for stage in net.stages:
            stage.register_forward_hook(lambda m, i, y, n=name: types[n].append(y.dtype))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        images = G(torch.randn(2, 5))
        scores = D(images)
    coarse = [torch.float32] * (3 - sixteen_bit) + [torch.bfloat16] * sixteen_bit
    assert types == {"G": coarse, "D": coarse[::-1]}
    assert images.dtype == scores.dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"groups": [4, 2]}, "as many widths as cardinalities"),
        ({"blocks": [1, 1]}, "as many widths as cardinalities"),
        ({"widths": [], "groups": [], "blocks": []}, "got 0, 0 and 0"),
        ({"groups": [3, 2, 2]}, "3 groups cannot share the 16 features"),
        ({"groups": [0, 2, 2]}, "0 groups"),
    ],
)
def test_lists_that_do_not_fit_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        pair(16, 16, **options)


def test_sizes_that_do_not_halve_are_refused():
    assert smallest_size(16, 24, 3) == (4, 6)
    with pytest.raises(ConfigError, match="multiples of 4"):
        smallest_size(16, 18, 3)
