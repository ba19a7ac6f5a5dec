"""Resizing by matrices: against the formula written out, against Pillow, and its gradient."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from largegan.layers.resize import bicubic_weights, imresize, pyramid_scale, pyramid_weights


def keys(x: float) -> float:
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def formula(line: list[float], target: int) -> list[float]:
    """MATLAB's imresize of a line of pixels, one sum a pixel."""
    source = len(line)
    stretch, result = max(source / target, 1.0), []
    for i in range(target):
        center = (i + 0.5) * source / target - 0.5
        total = weight = 0.0
        for j in range(math.floor(center - 2 * stretch), math.ceil(center + 2 * stretch) + 1):
            k = j % (2 * source)
            w = keys((center - j) / stretch)
            total += w * line[min(k, 2 * source - 1 - k)]
            weight += w
        result.append(total / weight)
    return result


@pytest.mark.parametrize("source, target", [(32, 8), (24, 8), (17, 5), (8, 32), (5, 17), (3, 1)])
def test_is_the_formula(source, target):
    line = torch.randn(source, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted = torch.tensor(formula(line.tolist(), target), dtype=torch.float64)
    column, row = line[None, None, :, None], line[None, None, None]
    for got in (imresize(column, (target, 1)), imresize(row, (1, target))):
        torch.testing.assert_close(got.flatten(), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_is_pillows_away_from_the_border(scale):
    """To 1e-6 of float images; at the border Pillow cuts its window off, and they differ."""
    random = np.random.default_rng(0)
    image = random.random((12 * scale, 15 * scale), dtype=np.float32)
    theirs = Image.fromarray(image).resize((15, 12), Image.Resampling.BICUBIC)
    ours = imresize(torch.from_numpy(image)[None, None], (12, 15))[0, 0].numpy()
    inside = (slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(ours[inside], np.asarray(theirs)[inside], rtol=0, atol=1e-6)
    assert np.abs(ours - np.asarray(theirs)).max() > 1e-3


def test_reducing_does_not_alias():
    """Stripes of one pixel become gray, not stripes."""
    stripes = torch.tensor([-1.0, 1.0]).repeat(32).expand(1, 1, 64, 64)
    assert imresize(stripes, (16, 16))[..., 2:-2].abs().max() < 1e-6


def test_constants_stay_constant():
    for size in ((5, 9), (40, 3)):
        flat = torch.full((1, 2, 16, 12), 0.7)
        for resize in (imresize, pyramid_scale):
            torch.testing.assert_close(resize(flat, size), torch.full((1, 2, *size), 0.7))
    assert torch.allclose(bicubic_weights(30, 7).sum(1), torch.ones(7, dtype=torch.float64))


def test_a_pyramid_halves_by_means_and_enlarges_between_corners():
    image = torch.arange(16.0).view(1, 1, 4, 4)
    small = pyramid_scale(image, (2, 2))
    assert small.flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    large = pyramid_scale(small, (3, 3))
    assert large.flatten().tolist() == [2.5, 3.5, 4.5, 6.5, 7.5, 8.5, 10.5, 11.5, 12.5]


def test_both_are_differentiable():
    image = torch.randn(1, 1, 6, 7, dtype=torch.float64, requires_grad=True)
    for resize in (imresize, pyramid_scale):
        assert torch.autograd.gradcheck(lambda x, f=resize: f(x, (3, 9)), image)


def test_weights_that_are_kept_hold_numbers_wherever_they_are_first_asked_for():
    """A dry run builds networks on `meta`; what it leaves behind is used by everybody after it."""
    for weights in (bicubic_weights, pyramid_weights):
        weights.cache_clear()
        with torch.device("meta"):
            weights(6, 3)
        assert weights(6, 3).sum(1).tolist() == pytest.approx([1.0] * 3)
