"""Scores of pairs, against their definitions written out with loops and scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from largegan.errors import DataError
from largegan.metrics.translation import PairedScores, feature_distance, l1, psnr, ssim


@pytest.fixture
def pair():
    """Two images `[2, 3, 24, 31]` in [-1, 1] that resemble each other."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(2, 3, 24, 31, generator=generator) * 2 - 1
    return (truth + 0.2 * torch.randn(truth.shape, generator=generator)).clamp(-1, 1), truth


def ssim_by_scipy(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. (2004), equation 13, on one plane of values from 0 to 255."""

    def blur(image):
        # truncate: five pixels to each side; they are cut off, as no padding is part of SSIM.
        return gaussian_filter(image, 1.5, truncate=5 / 1.5)[5:-5, 5:-5]

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    map_ = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return map_.mean()


def test_ssim(pair):
    output, truth = pair
    for i in range(2):
        planes = zip(output[i].double(), truth[i].double(), strict=True)
        wanted = [ssim_by_scipy(*((p.numpy() + 1) * 127.5 for p in both)) for both in planes]
        assert float(ssim(output, truth)[i]) == pytest.approx(np.mean(wanted), abs=1e-6)
    assert ssim(truth, truth).tolist() == pytest.approx([1, 1], abs=1e-9)


def test_psnr_and_l1(pair):
    output, truth = pair
    for i in range(2):
        difference = (output[i] - truth[i]).double().numpy() * 127.5
        wanted = 10 * math.log10(255**2 / (difference**2).mean())
        assert float(psnr(output, truth)[i]) == pytest.approx(wanted, abs=1e-4)
        assert float(l1(output, truth)[i]) == pytest.approx(np.abs(difference).mean() / 255)
    black, white = -torch.ones(1, 1, 11, 11), torch.ones(1, 1, 11, 11)
    assert float(l1(black, white)) == 1 and float(psnr(black, white)) == 0
    assert math.isinf(float(psnr(black, black)))


def test_feature_distance(pair):
    output, truth = pair

    def features(images):
        assert images.dtype == torch.uint8
        return images.float().mean((2, 3)) * torch.tensor([1.0, -3.0, 0.5])

    same = feature_distance(truth, truth, features)
    assert same.tolist() == [0, 0]
    a, b = (features(((x + 1) * 127.5).round().to(torch.uint8)) for x in (output, truth))
    wanted = (a / a.norm(dim=1, keepdim=True) - b / b.norm(dim=1, keepdim=True)).norm(dim=1)
    torch.testing.assert_close(feature_distance(output, truth, features), wanted)


def test_collected_scores(pair):
    output, truth = pair
    at_once, one_by_one = PairedScores(), PairedScores()
    at_once.add(output, truth)
    for i in (1, 0):
        one_by_one.add(output[i : i + 1], truth[i : i + 1])
    for name, score in at_once.result().items():
        assert score.count == 2 and score.mean == pytest.approx(one_by_one.result()[name].mean)
        values = {"psnr": psnr, "ssim": ssim, "l1": l1}[name](output, truth)
        assert score.error == pytest.approx(float(values.std() / 2**0.5))


def test_what_cannot_be_scored(pair):
    output, truth = pair
    with pytest.raises(DataError, match="they must be the same"):
        PairedScores().add(output, truth[:, :, :20])
    with pytest.raises(DataError, match="at least 11 pixels, not 24x10"):
        PairedScores().add(output[..., :10], truth[..., :10])
    with pytest.raises(DataError, match="no pairs"):
        PairedScores().result()
