"""Maximum mean discrepancy as a metric: blocks, scale, what it tells apart, and its row."""

import pytest
import torch

from largegan.errors import ConfigError
from largegan.losses import gaussian_mmd2, root
from largegan.metrics import mmd, table
from largegan.metrics.moments import gaussian_of
from largegan.metrics.side import Settings, Side

NORMAL = torch.Generator().manual_seed(0)


class Set:
    """Images in memory."""

    def __init__(self, images: torch.Tensor):
        self.images, self.count = images, len(images)

    def read(self, first: int, last: int) -> list[torch.Tensor]:
        return list(self.images[first:last])


def side(features: torch.Tensor, images: torch.Tensor | None = None) -> Side:
    about = None if images is None else Set(images)
    return Side(gaussian_of(features), {}, features=features, images=about)


def draw(n: int, mean: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    return (torch.randn(n, 6, generator=NORMAL) + mean) * scale


def scores(reference: Side, generated: Side, name: str, **options) -> dict[str, float]:
    return table.compute(reference, generated, [name], Settings(**options))


def test_blocks_are_the_whole(monkeypatch):
    x, y, variances = draw(70), draw(45, 0.5), (0.5, 2.0)
    whole = float(gaussian_mmd2(x.double(), y.double(), variances, biased=False))
    for rows in (1000, 16):
        monkeypatch.setattr(mmd, "ROWS", rows)
        assert mmd.discrepancy(x, y, variances) == pytest.approx(whole, abs=1e-12)


def test_of_features():
    """About 0 for the same distribution, more the further apart, and blind to units."""
    reference = side(draw(400))
    same, near, far = (scores(reference, side(draw(400, m)), "mmd")["mmd"] for m in (0, 0.3, 1.0))
    assert abs(same) < 0.02 < near < far
    x, y = draw(100), draw(100, 0.5)
    small, large = (scores(side(x * u), side(y * u), "mmd")["mmd"] for u in (1.0, 1000.0))
    assert small == pytest.approx(large, rel=1e-4)
    few = scores(side(x), side(y), "mmd", most=50)["mmd"]
    assert few == pytest.approx(scores(side(x[:50]), side(y[:50]), "mmd")["mmd"])


def test_of_pixels():
    dark = torch.randint(0, 100, (20, 3, 16, 16), dtype=torch.uint8)
    light, features = dark + 100, draw(20)
    apart = scores(side(features, dark), side(features, light), "mmd_pixels")["mmd_pixels"]
    same = scores(side(features, dark), side(features, dark.flip(0)), "mmd_pixels")["mmd_pixels"]
    assert apart > 1 > same
    with pytest.raises(ConfigError, match="needs 2 images or more"):
        scores(side(features, dark), side(features, dark[:1]), "mmd_pixels")


def test_biased_is_never_negative_and_its_root_has_a_gradient():
    for n in (2, 5, 50):
        assert float(gaussian_mmd2(draw(n), draw(n), (1.0,))) >= -1e-6
    zero = torch.zeros((), requires_grad=True)
    root(zero).backward()
    assert zero.grad == 0
    four = torch.tensor(4.0, requires_grad=True)
    root(four).backward()
    assert float(root(four)) == 2 and float(four.grad) == 0.25


def test_variance_is_that_of_many_draws():
    """The estimate of the estimate's variance, on average, against the spread of 300 estimates."""
    found, guessed = [], []
    for _ in range(300):
        estimate, variance = mmd.mmd2_and_variance(
            draw(25).double(), draw(25, 0.8).double(), (2.0,)
        )
        found.append(estimate), guessed.append(variance)
    spread = float(torch.stack(found).var())
    assert float(torch.stack(guessed).mean()) == pytest.approx(spread, rel=0.3)
