"""Tiles against the whole frame, on the real networks."""

import math

import pytest
import torch
from torch import nn

from largegan.errors import ConfigError
from largegan.layers.plain_norm import use_own_statistics
from largegan.nets.resnet_translation import ResnetGenerator
from largegan.nets.unet_translation import UNetGenerator
from largegan.translation import tiling
from largegan.translation.shared_norm import Moments, share_norms
from largegan.translation.tiles import Box, fades, plan
from largegan.translation.tiling import Tiler

SIZE = (122, 151)  # odd, and no multiple of 4


def network(**options) -> ResnetGenerator:
    """With weights that leave every layer something to do."""
    torch.manual_seed(1)
    net = ResnetGenerator(channels=4, **{"blocks": 2, **options})
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight)
    return use_own_statistics(net).eval().requires_grad_(False)


def photograph(height: int, width: int, *, grain: float = 0.1) -> torch.Tensor:
    """`[1, 3, H, W]`: a ramp of light with structure, so that tiles differ from the whole."""
    y, x = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)
    waves = torch.stack(
        [torch.sin(20 * y + 5 * x), torch.cos(9 * x * y), torch.sin(60 * x + 0 * y)]
    )
    noise = torch.randn(3, height, width, generator=torch.Generator().manual_seed(0))
    return ((0.4 * waves + grain * noise) * (0.2 + y * x)).clamp(-1, 1)[None]


def translated(tiler: Tiler, mode: str, image: torch.Tensor):
    """The picture that `run` writes, and what it says of it; every pixel is written once."""
    out = torch.full_like(image, math.nan)
    times = torch.zeros(image.shape[2:])

    def write(box: Box, part: torch.Tensor) -> None:
        out[:, :, box.top : box.bottom, box.left : box.right] = part
        times[box.top : box.bottom, box.left : box.right] += 1

    def read(box: Box) -> torch.Tensor:
        assert 0 <= box.top < box.bottom <= image.shape[2]
        assert 0 <= box.left < box.right <= image.shape[3]
        return image[:, :, box.top : box.bottom, box.left : box.right]

    done = tiler.run(mode, tuple(image.shape[2:]), read, write)
    assert (times == 1).all()
    return out, done


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(10 * torch.log10(4 / (a - b).square().mean()))


@pytest.mark.parametrize(
    "options",
    [{}, {"norm": "batch"}, {"antialias_down": True, "antialias_up": True}],
    ids=["instance", "batch", "antialias"],
)
def test_exact_is_the_whole_frame(options):
    net, image = network(**options), photograph(*SIZE)
    tiler = Tiler(net, tile=64)
    whole, _ = translated(tiler, "full", image)
    assert whole.std() > 0.1
    tiles, done = translated(tiler, "exact", image)
    assert done.mode == "exact" and done.tiles == 6
    torch.testing.assert_close(tiles, whole, atol=1e-4, rtol=0)
    alone, _ = translated(tiler, "tile", image)
    assert (alone - whole).abs().max() > 0.1, "or this image would show nothing"


def test_exact_needs_all_of_its_halo():
    net, image = network(), photograph(*SIZE)
    tiler = Tiler(net, tile=64)
    whole, _ = translated(tiler, "full", image)
    tiler.halo -= 8
    assert (translated(tiler, "exact", image)[0] - whole).abs().max() > 1e-4


def test_thumbnail_is_closer_than_tiles_of_their_own():
    net, image = network(), photograph(*SIZE, grain=0)
    tiler = Tiler(net, tile=64, thumbnail=128)
    whole, _ = translated(tiler, "full", image)
    near, done = translated(tiler, "thumbnail", image)
    far, _ = translated(tiler, "tile", image)
    assert psnr(near, whole) > psnr(far, whole) + 3
    assert done.drift > 0.01
    tiler.thumbnail = max(SIZE) + 1  # not reduced but for the last row and columns
    _, done = translated(tiler, "thumbnail", photograph(120, 148))
    assert done.drift < 1e-3, "statistics of the image itself do not drift"


def test_a_thumbnail_is_better_for_what_half_of_it_adds(monkeypatch):
    net, image = network(blocks=1), photograph(512, 640, grain=0)
    tiler = Tiler(net, tile=256, thumbnail=320)
    whole, _ = translated(tiler, "full", image)
    near, _ = translated(tiler, "thumbnail", image)
    monkeypatch.setattr(tiling, "_further", lambda factor: 0.0)
    plain, _ = translated(tiler, "thumbnail", image)
    assert psnr(near, whole) > psnr(plain, whole) + 1


def test_statistics_go_on_the_way_they_came():
    norm = share_norms(nn.Sequential(nn.InstanceNorm2d(1)))[0][0]
    coarse, norm.moments = Moments(10, torch.tensor([1.0]), torch.tensor([10.0])), Moments()
    norm.moments.count, norm.moments.mean = 10, torch.tensor([3.0])
    norm.moments.m2 = torch.tensor([40.0])
    norm.freeze()
    norm.extrapolate(coarse, 0.5)
    assert norm.mean.item() == pytest.approx(4.0)
    assert norm.var.item() == pytest.approx(4.0 * 4**0.5, rel=1e-4)


def test_how_far_a_thumbnail_is_from_the_image():
    assert tiling._further(0.5) == tiling._further(1.0) == 0.0
    errors = {factor: factor**1.5 - 1 for factor in (2.0, 4.0)}
    assert tiling._further(2.0) == pytest.approx(errors[2.0] / (errors[4.0] - errors[2.0]))


def test_statistics_are_forgotten_between_images():
    first, second = photograph(120, 150), -photograph(120, 150).flip(3)
    for mode in ("thumbnail", "exact"):
        tiler = Tiler(network(blocks=1), tile=64, thumbnail=64)
        alone, _ = translated(Tiler(network(blocks=1), tile=64, thumbnail=64), mode, second)
        translated(tiler, mode, first)
        torch.testing.assert_close(translated(tiler, mode, second)[0], alone)


def test_without_image_statistics_one_pass_is_exact():
    for norm in ("batch", "none"):
        torch.manual_seed(0)
        net = ResnetGenerator(channels=4, blocks=1, norm=norm).eval().requires_grad_(False)
        tiler = Tiler(net, tile=64)
        assert not tiler.has_norms
        whole, _ = translated(tiler, "full", photograph(*SIZE))
        for mode in ("exact", "tile", "thumbnail"):
            tiles, _ = translated(tiler, mode, photograph(*SIZE))
            torch.testing.assert_close(tiles, whole, atol=1e-5, rtol=0)


def test_small_images_are_one_tile():
    tiler = Tiler(network(), tile=64)
    for size in ((1, 1), (3, 64), (64, 64)):
        image = photograph(*size)
        out, done = translated(tiler, "exact", image)
        assert done == tiling.Done("full", 1)
        torch.testing.assert_close(out, tiler.net(image))


def test_fades_add_up_to_one():
    for length, tile, halo in ((211, 64, 8), (211, 64, 40), (65, 64, 64)):
        spans = [(t.read.left, t.read.right) for t in plan(1, length, tile=tile, halo=halo)]
        total = torch.zeros(length)
        for (start, end), fade in zip(spans, fades(length, spans), strict=True):
            total[start:end] += fade
        torch.testing.assert_close(total, torch.ones(length))


def test_reduced_image():
    image = photograph(400, 301)
    small = tiling.reduced(
        (400, 301), lambda b: image[:, :, b.top : b.bottom, b.left : b.right], side=100, multiple=4
    )
    assert small.shape == (1, 3, 100, 76)
    assert float((small.mean() - image.mean()).abs()) < 0.01


def test_a_u_net_sees_too_far_for_small_tiles():
    net = UNetGenerator(channels=2, levels=5).eval().requires_grad_(False)
    with pytest.raises(ConfigError, match=r"128 pixels around it.*--tile 128 or more"):
        translated(Tiler(net, tile=32), "exact", photograph(200, 200))
    net = use_own_statistics(net)
    tiler = Tiler(net, tile=128)
    whole, _ = translated(tiler, "full", photograph(270, 300))
    tiles, _ = translated(tiler, "exact", photograph(270, 300))
    torch.testing.assert_close(tiles, whole, atol=1e-4, rtol=0)


def test_networks_that_cannot_be_tiled():
    net = nn.Sequential(nn.Conv2d(3, 3, 1))
    with pytest.raises(ConfigError, match="does not say how far it sees"):
        translated(Tiler(net, tile=64), "exact", photograph(100, 100))
    norm = nn.InstanceNorm2d(3)
    net = nn.Sequential(norm, nn.Conv2d(3, 3, 1), norm)
    net.halo = 0
    with pytest.raises(ConfigError, match="a norm is used twice"):
        translated(Tiler(net, tile=64), "exact", photograph(100, 100))


def test_moments_of_parts_are_those_of_the_whole():
    x = 1000 + torch.randn(1, 5, 20, 31)
    moments = Moments()
    for part in (x[:, :, :7], x[:, :, 7:8], x[:, :, 8:8], x[:, :, 8:]):
        moments.add(part)
    flat = x[0].flatten(1).double()
    torch.testing.assert_close(moments.mean, flat.mean(1))
    torch.testing.assert_close(moments.var, flat.var(1, correction=0))
