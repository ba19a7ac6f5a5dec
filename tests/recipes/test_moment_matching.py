"""Moment matching: groups, estimates, scale, stages, and the toy without a discriminator."""

import pytest
import torch

from largegan.errors import ConfigError
from largegan.losses import gaussian_mmd2
from largegan.recipe import DataSpec, Phase, Progress
from largegan.recipes import build
from largegan.recipes.gmmn import GMMNOptions, moment_loss, on_mnists_scale
from tests.recipes.common import IMAGES, TINY, iterate, make_recipe, make_trainer

V = (1.0, 4.0)


def draw(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("estimate", ["biased", "unbiased"])
def test_groups_are_estimates_of_their_own(estimate):
    x, y = draw(6, 0), draw(6, 1) + 2
    options = GMMNOptions(variances=V, group=3, estimate=estimate, root=False)
    parts = [
        gaussian_mmd2(x[i : i + 3], y[i : i + 3], V, biased=estimate == "biased") for i in (0, 3)
    ]
    torch.testing.assert_close(moment_loss(options)(x, y), sum(parts) / 2)
    whole = moment_loss(GMMNOptions(variances=V, estimate=estimate, root=False))(x, y)
    torch.testing.assert_close(whole, gaussian_mmd2(x, y, V, biased=estimate == "biased"))


def test_root_and_one_example():
    x, y = draw(4, 0), draw(4, 1) + 2
    squared = moment_loss(GMMNOptions(variances=V, root=False))(x, y)
    torch.testing.assert_close(moment_loss(GMMNOptions(variances=V))(x, y), squared.sqrt())
    with pytest.raises(ConfigError, match="compares at least 2 examples"):
        moment_loss(GMMNOptions(variances=V, estimate="unbiased"))(x[:1], y[:1])


def test_distances_are_mnists_at_every_size():
    """Images of twice the side, each pixel four times, are as far apart."""
    small = torch.rand(2, 1, 28, 28) * 2 - 1
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3).expand(-1, 3, -1, -1)
    distances = [(on_mnists_scale(i)[0] - on_mnists_scale(i)[1]).norm() for i in (small, large)]
    torch.testing.assert_close(*distances, rtol=1e-4, atol=0)
    pixels = (small[0] / 2 - small[1] / 2).norm()  # in [0, 1]
    torch.testing.assert_close(distances[0], pixels, rtol=1e-4, atol=0)


def test_phases_have_stages():
    phase = Phase("G", lambda batch, at: {}, every=2, from_nimg=16, until_nimg=48)
    due = [step for step in range(12) if phase.due(Progress(step, 8 * step))]
    assert due == [2, 4]


def test_the_auto_encoder_learns_first_then_stands_still():
    options = TINY["gmmn_codes"] | {"code_nimg": 16, "start_nimg": None}
    recipe = build("gmmn_codes", IMAGES, options)
    trainer = make_trainer(recipe, "gmmn_codes")
    moved = []
    for _ in range(4):
        before = {n: [p.detach().clone() for p in recipe.players[n].parameters()] for n in "AG"}
        iterate(trainer, 1)
        moved.append(
            "".join(
                n for n in "AG"
                if any(not torch.equal(a, b)
                       for a, b in zip(before[n], recipe.players[n].parameters(), strict=True))
            )
        )  # fmt: skip
    assert moved == ["A", "A", "G", "G"]


def test_codes_and_images_are_those_of_the_average():
    recipe = make_recipe("gmmn_codes")
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    codes = recipe.codes(images)
    assert codes.shape == (2, 4) and codes.min() >= 0 and codes.max() <= 1
    again = recipe.show(codes)
    with torch.no_grad():
        for parameter in recipe.A.parameters():
            parameter.zero_()
    assert torch.equal(recipe.show(recipe.codes(images)), again)


def test_toys_refuse_images():
    for name in ("gaussian", "gaussian_mmd"):
        with pytest.raises(ConfigError, match=f"recipe {name} learns single numbers"):
            build(name, DataSpec(3, 16, 16), TINY[name])
