"""FIR resampling against matrices, over random sizes, factors, paddings and filters."""

import random

import pytest
import torch

from largegan import ops
from tests.ops import bands


def arguments(seed: int) -> dict:
    """A random call whose output has at least one pixel."""
    draw = random.Random(seed)
    while True:
        case = {
            "size": (draw.randint(1, 9), draw.randint(1, 9)),
            "fx": [draw.gauss(0, 1) for _ in range(draw.randint(1, 7))],
            "fy": [draw.gauss(0, 1) for _ in range(draw.randint(1, 7))],
            "up": (draw.randint(1, 4), draw.randint(1, 4)),
            "down": (draw.randint(1, 4), draw.randint(1, 4)),
            "padding": [draw.randint(-3, 5) for _ in range(4)],
            "flip": draw.random() < 0.5,
        }
        (h, w), p = case["size"], case["padding"]
        room = w * case["up"][0] + p[0] + p[1] - len(case["fx"]), h * case["up"][1] + p[2] + p[3]
        if room[0] >= 0 and room[1] - len(case["fy"]) >= 0:
            return case


@pytest.mark.parametrize("seed", range(60))
def test_upfirdn2d_is_its_matrices(seed):
    case = arguments(seed)
    x = torch.randn(2, 3, *case.pop("size"), dtype=torch.float64)
    fx, fy = case.pop("fx"), case.pop("fy")
    got = ops.upfirdn2d(x, fx, fy, gain=1.7, **case)
    torch.testing.assert_close(got, bands.upfirdn2d(x, fx, fy, gain=1.7, **case))


@pytest.mark.parametrize("flip", [False, True])
def test_a_filter_of_rows_that_separates_is_its_two_directions(flip):
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    fx, fy = (1.0, 2.0, -1.0), (0.5, 3.0, 1.0, 0.25)
    rows = tuple(tuple(a * b for a in fx) for b in fy)
    call = {"up": (3, 2), "down": (1, 2), "padding": (2, 1, 0, 3), "flip": flip, "gain": 0.7}
    torch.testing.assert_close(ops.upfirdn2d(x, rows, **call), ops.upfirdn2d(x, fx, fy, **call))


def test_sizes_and_means_of_the_usual_settings():
    x = torch.randn(1, 2, 8, 6, dtype=torch.float64)
    constant = torch.ones(1, 1, 16, 16, dtype=torch.float64)
    for f in (ops.BINOMIAL, ops.taps((1, 2, 1)), ops.taps((1, 5, 10, 10, 5, 1))):
        assert ops.upsample2d(x, f).shape == (1, 2, 16, 12)
        assert ops.downsample2d(x, f).shape == (1, 2, 4, 3)
        assert ops.filter2d(x, f).shape == x.shape
        inner = ops.downsample2d(ops.filter2d(ops.upsample2d(constant, f), f), f)[..., 4:-4, 4:-4]
        torch.testing.assert_close(inner, torch.ones_like(inner))


def test_taps():
    assert ops.taps((1, 3, 3, 1)) == ops.BINOMIAL
    assert ops.taps((1, 2, 5), flip=True, normalize=False) == (5.0, 2.0, 1.0)
    assert ops.taps((1, 1), gain=4.0) == (1.0, 1.0)
    assert ops.taps(((1, 1), (1, 1)), gain=4.0) == ((1.0, 1.0), (1.0, 1.0))
    with pytest.raises(ValueError, match="sum to zero"):
        ops.taps((1, -1))
