"""StyleGAN3's synthesis: bands, filters, padding, oblong images, magnitudes, sixteen bits."""

import math

import pytest
import torch

from largegan.errors import ConfigError
from largegan.layers.lowpass import lowpass
from largegan.nets.stylegan3 import Synthesis, SynthesisOptions
from largegan.nets.stylegan3_bands import BandOptions, bands

SMALL = {"channel_base": 64, "channel_max": 8, "w_dim": 6}
CONFIGURATIONS = {"t": {"kernel": 3}, "r": {"kernel": 1, "radial": True}}
PAPER = {"layers": 14, "critical": 2, "channel_base": 32768, "channel_max": 512}


def synthesis(height: int, width: int, **options) -> Synthesis:
    torch.manual_seed(0)
    return Synthesis(height, width, SynthesisOptions(**SMALL | {"layers": 4} | options))


def described(height: int, width: int, **options):
    return bands(height, width, BandOptions(**PAPER | {"image_channels": 3} | options))


def test_bands_of_the_published_generator_at_256():
    """Sizes and widths are part of the published names of its layers (L0_36_512 ...)."""
    found = described(256, 256)
    sizes = [36] * 3 + [52] * 2 + [84] * 2 + [148] * 3 + [276] * 3 + [256] * 2
    assert [b.size for b in found] == [(n, n) for n in sizes]
    assert [b.channels for b in found] == [512] * 9 + [362, 256, 181, 128, 128, 3]
    assert found[0].cutoff == 2 and found[12].cutoff == found[14].cutoff == 128
    assert all(b.half_width > 0 for b in found)


def test_oblong_images_have_square_cells():
    found = described(64, 96)
    assert found[0].size == (16 + 20, 24 + 20)
    assert all((b.size[1] - 20) * 64 == (b.size[0] - 20) * 96 for b in found[:-2])
    assert found[-1].size == (64, 96)


@pytest.mark.parametrize(
    ("size", "options", "said"),
    [
        ((48, 48), {}, "powers of two"),
        ((64, 70), {}, "multiple of 4 pixels"),
        ((64, 64), {"critical": 14}, "at least 1 and at most 13"),
        ((64, 64), {"critical": 0}, "at least 1"),
        ((64, 64), {"first_cutoff": 5.0}, "first stopband"),
        ((64, 64), {"first_cutoff": 0.0}, "first cutoff 0"),
        ((4, 4), {"first_cutoff": 3.0}, "not above 2"),
        ((64, 64), {"last_stopband": 0.9}, "last stopband"),
        ((2, 2), {}, "half of the image's shorter side"),
    ],
)
def test_what_cannot_be_designed_is_refused(size, options, said):
    with pytest.raises(ConfigError, match=said):
        described(*size, **options)


@pytest.mark.parametrize("radial", [False, True])
@pytest.mark.parametrize("taps", [11, 12, 24])
def test_filters_pass_low_frequencies_and_stop_high_ones(taps, radial):
    cutoff, width, rate = 4.0, 8.0, 32.0
    f = torch.tensor(lowpass(taps, cutoff=cutoff, width=width, rate=rate, radial=radial))
    f = f if radial else torch.outer(f, f)
    assert f.double().sum() == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(f, f.flip(0, 1))
    torch.testing.assert_close(f, f.T)
    place = (torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2) / rate

    def response(frequency: float) -> float:
        return float((f.double() * torch.cos(2 * math.pi * frequency * place)).sum())

    assert response(1.0) > 0.85
    assert abs(response(cutoff + width / 2 + 1)) < 0.05


def test_radial_filters_depend_on_the_distance():
    """3, 4 and 5, 0 from the center: separable filters differ there, radial ones nearly not."""
    found = {}
    for radial in (False, True):
        f = torch.tensor(lowpass(21, cutoff=2.0, width=6.0, rate=32.0, radial=radial))
        f = f if radial else torch.outer(f, f)
        found[radial] = float((f[10 + 3, 10 + 4] / f[10 + 5, 10] - 1).abs())
    assert found[True] < found[False]


@pytest.mark.parametrize("turns", ["t", "r"])
@pytest.mark.parametrize("size", [(16, 16), (16, 32), (32, 16), (8, 8)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_size_and_channels(turns, size, channels):
    net = synthesis(*size, image_channels=channels, **CONFIGURATIONS[turns])
    torch.nn.init.normal_(net.input.affine.weight)  # it starts at zero
    ws = torch.randn(2, net.num_ws, 6, requires_grad=True)
    images = net(ws)
    assert images.shape == (2, channels, *size)
    (slope,) = torch.autograd.grad(images.square().sum(), ws)
    assert slope.isfinite().all() and slope.abs().sum((0, 2)).all(), "a layer ignores its w"


@pytest.mark.parametrize("margin", [0, 3, 10])
@pytest.mark.parametrize("filter_size", [2, 5, 6])
def test_sizes_come_out_right_for_any_filter_and_margin(margin, filter_size):
    net = synthesis(16, 24, margin=margin, filter_size=filter_size, layers=5)
    sizes = []
    for layer in net.layers:
        layer.register_forward_hook(lambda m, i, y: sizes.append((tuple(y.shape[2:]), m.size)))
    net(torch.randn(1, net.num_ws, 6))
    assert all(found == wanted for found, wanted in sizes)


def test_shifted_input_shifts_an_oblong_image():
    """One unit is the shorter side, both ways."""
    net = synthesis(32, 64, margin=10, layers=6).eval()
    ws = torch.randn(1, net.num_ws, 6)
    still = net(ws)
    for matrix, dims, amount in (((-0.25, 0.0), 3, 8), ((0.0, 0.125), 2, -4)):
        transform = torch.eye(3)
        transform[0, 2], transform[1, 2] = matrix
        moved, wanted = net(ws, transform=transform), still.roll(amount, dims)
        inside = (..., slice(8, 24), slice(12, 52))
        difference = (moved - wanted)[inside].abs().mean()
        assert difference < 0.02 * still[inside].std()


def test_one_transform_each():
    net = synthesis(16, 16).eval()
    ws = torch.randn(2, net.num_ws, 6)
    transforms = torch.eye(3).repeat(2, 1, 1)
    transforms[1, 0, 2] = 0.25
    images = net(ws, transform=transforms)
    torch.testing.assert_close(images[:1], net(ws[:1]))
    torch.testing.assert_close(images[1:], net(ws[1:], transform=transforms[1]))


def test_magnitudes_move_only_when_they_are_tracked():
    """And divide: twice as large features give the same picture, once the mean has followed."""
    net = synthesis(16, 16)
    layer = net.layers[1]
    layer.magnitude.set_batch_size(10_000)
    assert layer.magnitude.beta == pytest.approx(0.5**0.5)
    x, w = torch.randn(4, 8, *net.layers[0].size), torch.randn(4, 6)
    plain = layer(x, w, track=False)
    assert layer.magnitude.pending.eq(0).all()
    tracked = layer(2 * x, w, track=True)
    assert not torch.allclose(plain, tracked)
    mean = layer.magnitude.mean.clone()
    layer.magnitude.absorb_pending()
    squares = (2 * x).square().mean()
    torch.testing.assert_close(layer.magnitude.mean, torch.lerp(squares, mean, 0.5**0.5))
    torch.testing.assert_close(layer(2 * x, w, track=False), tracked)


def test_layers_do_not_mix_the_images_of_a_batch():
    net = synthesis(16, 16).double()
    ws = torch.randn(3, net.num_ws, 6, dtype=torch.float64)
    torch.testing.assert_close(net(ws)[1:2], net(ws[1:2]), rtol=1e-9, atol=1e-12)


def test_sixteen_bits_in_convolutions_only():
    net = synthesis(16, 16).eval()
    ws = torch.randn(2, net.num_ws, 6)
    types = []
    net.input.register_forward_hook(lambda m, i, y: types.append(y.dtype))
    net.layers[0].register_forward_hook(lambda m, i, y: types.append(y.dtype))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        coarse = net(ws)
    assert types == [torch.float32, torch.bfloat16] and coarse.dtype == torch.float32
    exact = net(ws)
    assert (coarse - exact).abs().max() < 0.1 * exact.std()
