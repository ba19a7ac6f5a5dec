"""Translation networks: published layer tables, any size, and how far a pixel sees."""

import copy

import pytest
import torch
from torch import nn

from largegan.errors import ConfigError
from largegan.layers.plain_norm import BatchNorm2d, use_own_statistics
from largegan.layers.resample import BlurDown, BlurUp, pad_to_multiple
from largegan.nets.patch_sampler import PatchSampler
from largegan.nets.patchgan import PatchGAN, PixelGAN
from largegan.nets.resnet_translation import ResnetGenerator
from largegan.nets.unet_translation import UNetGenerator

ANTIALIASED = {"antialias_down": True, "antialias_up": True}


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def generators():
    yield "resnet", ResnetGenerator(2, 3, channels=2, blocks=1)
    yield "resnet blurred", ResnetGenerator(2, 3, channels=2, blocks=1, **ANTIALIASED)
    yield "resnet batch", ResnetGenerator(2, 3, channels=2, blocks=1, norm="batch", dropout=True)
    yield "unet", UNetGenerator(2, 3, channels=2, levels=5)
    yield "unet instance", UNetGenerator(2, 3, channels=2, levels=6, norm="instance", dropout=True)


GENERATORS = dict(generators())
each_generator = pytest.mark.parametrize("name", GENERATORS)


def test_sizes_of_the_published_networks():
    """Numbers of parameters that the published code prints."""
    with torch.device("meta"):
        assert parameters(ResnetGenerator(blocks=9)) == 11_378_179
        assert parameters(ResnetGenerator(blocks=6)) == 7_837_699
        assert parameters(UNetGenerator(norm="batch")) == 54_413_955
        assert parameters(PatchGAN()) == 2_764_737
        assert parameters(PatchGAN(6, norm="batch")) == 2_768_705


@each_generator
@pytest.mark.parametrize("size", [(64, 32), (33, 50), (5, 1), (130, 2)])
def test_size_out_is_size_in(name, size):
    net = GENERATORS[name].eval()
    with torch.no_grad():
        image = net(torch.randn(2, 2, *size).clamp(-1, 1))
    assert image.shape == (2, 3, *size)
    assert image.abs().max() <= 1


@each_generator
def test_padding_touches_only_what_does_not_divide(name):
    """An image is translated like the mirrored image of whole cells that it is the corner of."""
    net = use_own_statistics(GENERATORS[name]).eval()
    image = torch.randn(1, 2, net.multiple * 2 - 3, net.multiple + 1)
    whole = pad_to_multiple(image, net.multiple)
    assert whole.shape[2:] == (net.multiple * 2, net.multiple * 2)
    with torch.no_grad():
        assert torch.equal(net(image), net(whole)[..., : image.shape[2], : image.shape[3]])


def test_the_mirror_image_goes_on_for_ever():
    x = torch.arange(3.0).reshape(1, 1, 1, 3)
    assert pad_to_multiple(x, 11)[0, 0, 0].tolist() == [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]
    assert pad_to_multiple(x, 3, least=6).shape == (1, 1, 6, 6)
    assert pad_to_multiple(x, 1) is x


def seen(net: nn.Module, size: int, at: int) -> tuple[int, int]:
    """How many columns to the left and right of column `at` reach it, by its gradient."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            fan = module.weight[0].numel()
            nn.init.uniform_(module.weight, 0.5 / fan, 1 / fan)
    x = torch.rand(1, 2, net.multiple, size, dtype=torch.float64, requires_grad=True)
    net.double()(x)[0, :, :, at].sum().backward()
    columns = x.grad.abs().sum((0, 1, 2)).nonzero().flatten()
    return at - int(columns.min()), int(columns.max()) - at


@pytest.mark.parametrize(
    "net",
    [
        ResnetGenerator(2, 1, channels=1, blocks=2, norm="none"),
        ResnetGenerator(2, 1, channels=1, blocks=2, norm="none", **ANTIALIASED),
        ResnetGenerator(2, 1, channels=1, blocks=6, norm="none", **ANTIALIASED),
        UNetGenerator(2, 1, channels=1, levels=5, norm="none"),
        UNetGenerator(2, 1, channels=1, levels=6, norm="none"),
    ],
    ids=["resnet 2", "blurred 2", "blurred 6", "unet 5", "unet 6"],
)
def test_halo_is_what_a_pixel_sees(net):
    """No pixel sees beyond it, and it is not much more than the farthest one sees."""
    net.eval()
    center = 4 * net.multiple * -(-net.halo // (3 * net.multiple))
    farthest = max(
        side
        for at in range(center, center + net.multiple, max(1, net.multiple // 16))
        for side in seen(net, 2 * center, at)
    )
    assert farthest <= net.halo <= farthest + 2 * net.multiple


def test_blur_filters_are_the_published_ones():
    """Against the kernels themselves: [1, 2, 1] and [1, 3, 3, 1], borders reflected/continued."""
    x = torch.randn(1, 1, 6, 8)
    kernel = torch.tensor([1.0, 2.0, 1.0]) / 4
    padded = nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")
    down = nn.functional.conv2d(padded, kernel.outer(kernel)[None, None], stride=2)
    torch.testing.assert_close(BlurDown()(x), down)
    kernel = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4
    padded = nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
    up = nn.functional.conv_transpose2d(padded, kernel.outer(kernel)[None, None], stride=2)
    torch.testing.assert_close(BlurUp()(x), up[..., 3:-3, 3:-3])


@pytest.mark.parametrize(("layers", "side"), [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286)])
def test_patchgan_judges_patches_of_the_published_size(layers, side):
    net = PatchGAN(2, channels=1, layers=layers, norm="none")
    for conv in [*net.convs, net.score]:
        nn.init.uniform_(conv.weight, 0.1, 0.2)
    x = torch.rand(1, 2, 320, 320, dtype=torch.float64, requires_grad=True)
    logits = net.double()(x)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert int(rows.max() - rows.min()) + 1 == side


def test_patchgan_at_256_gives_30_by_30():
    with torch.device("meta"):
        assert PatchGAN(3)(torch.empty(1, 3, 256, 256)).shape == (1, 1, 30, 30)
        blurred = PatchGAN(3, antialias=True)(torch.empty(1, 3, 256, 256))
        assert blurred.shape[2] < 32
        assert PixelGAN(3)(torch.empty(1, 3, 20, 24)).shape == (1, 1, 20, 24)


def test_own_statistics_make_a_batch_irrelevant():
    net = use_own_statistics(UNetGenerator(channels=2, levels=5)).eval()
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        together, alone = net(x), net(x[1:2])
    torch.testing.assert_close(together[1:2], alone)
    one = BatchNorm2d(3).train()
    own = use_own_statistics(BatchNorm2d(3)).eval()
    torch.testing.assert_close(one(x[:1]), own(x[:1]))


def test_features_are_numbered_as_published():
    net = ResnetGenerator(channels=2, blocks=9, **ANTIALIASED)
    numbers = [0, 4, 8, 12, 16]
    maps = net.features(torch.randn(2, 3, 32, 32), numbers)
    assert [m.shape[1] for m in maps] == net.feature_channels(numbers) == [3, 4, 8, 8, 8]
    assert [m.shape[2] for m in maps] == [38, 32, 16, 8, 8]
    for wrong in ([], [4, 0], [99]):
        with pytest.raises(ConfigError, match="ascending"):
            net.feature_channels(wrong)


def test_patch_sampler_gives_unit_vectors_of_the_same_places():
    torch.manual_seed(0)  # where all 8 hidden units are off, a vector is 0 and has no direction
    maps = [torch.randn(2, 3, 5, 4), torch.randn(2, 6, 2, 2)]
    sampler = PatchSampler([3, 6], dim=8)
    where = sampler.positions(maps, 16)
    assert [len(p) for p in where] == [16, 4]
    assert len(set(where[0].tolist())) == 16
    query = sampler(maps, where)
    assert [q.shape for q in query] == [(2, 16, 8), (2, 4, 8)]
    torch.testing.assert_close(query[0].norm(dim=-1), torch.ones(2, 16), rtol=0, atol=1e-2)
    plain = PatchSampler([3, 6], project=False)
    assert parameters(plain) == 0
    first = int(where[0][0])
    pixel = maps[0][1, :, first // 4, first % 4]
    torch.testing.assert_close(plain(maps, where)[0][1, 0], pixel / pixel.norm())


@pytest.mark.parametrize("make", [lambda: UNetGenerator(levels=4), lambda: PatchGAN(layers=0)])
def test_impossible_depths_are_refused(make):
    with pytest.raises(ConfigError, match="at least"):
        make()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "net",
    [*GENERATORS.values(), PatchGAN(2, channels=2, layers=2), PixelGAN(2, channels=2)],
    ids=[*GENERATORS, "patchgan", "pixelgan"],
)
def test_memory_format_does_not_change_gradients(net, dtype):
    """Training runs in channels-last memory; torch's own instance norm is wrong there."""
    net = copy.deepcopy(net).train().to(dtype)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    torch.manual_seed(0)
    x = torch.randn(1, 2, 64, 64, dtype=dtype)
    gradients = []
    for layout in (torch.contiguous_format, torch.channels_last):
        net.to(memory_format=layout).zero_grad()
        y = net(x.to(memory_format=layout))
        (y * torch.linspace(-1, 1, y.numel(), dtype=dtype).reshape(y.shape)).sum().backward()
        weights = [p.grad.flatten().clone() for p in net.parameters() if p.dim() > 1]
        gradients.append(torch.cat(weights))
    error = (gradients[0] - gradients[1]).norm() / gradients[0].norm()
    # In float32 a unit at the kink of its ReLU may fall on either side.
    assert error < (1e-9 if dtype == torch.float64 else 0.02)


def test_gradients_of_patches_through_batch_norm_of_one_image():
    """torch 2.15's batch norm on a CPU is wrong when they come back transposed."""
    x = torch.randn(1, 5, 6, 7, dtype=torch.double)
    sampler = PatchSampler([5], project=False)
    where = [torch.tensor([0, 3, 17, 40])]
    weights = torch.randn(1, 4, 5, dtype=torch.double)
    slopes = []
    for memory in (torch.contiguous_format, torch.channels_last):
        inputs = x.clone(memory_format=memory).requires_grad_()
        features = torch.nn.functional.batch_norm(inputs, None, None, training=True)
        (sampler([features], where)[0] * weights).sum().backward()
        slopes.append(inputs.grad)
    torch.testing.assert_close(*slopes)
