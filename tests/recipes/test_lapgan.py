"""LAPGAN: levels, what each is trained on, the chain, and sizes that do not divide."""

import pytest
import torch

from largegan.errors import ConfigError
from largegan.layers.resize import pyramid_scale
from largegan.recipe import DataSpec, Progress
from largegan.recipes import build
from tests.recipes.common import TINY, iterate, make_recipe, make_trainer


def recipe_of(size: int, **options):
    spec = DataSpec(3, size, size, options.pop("num_classes", 0))
    return build("lapgan", spec, TINY["lapgan"] | options)


@pytest.mark.parametrize(
    "size, base, sides",
    [
        (8, 8, [8]),
        (16, 8, [8, 16]),
        (28, 7, [7, 14, 28]),
        (64, 8, [8, 16, 32, 64]),
        (48, 12, [12, 24, 48]),
    ],
)
def test_any_doubling_of_the_base(size, base, sides):
    recipe = recipe_of(size, base=base)
    assert recipe.G.sides == sides
    names = [f"{player}{level}.{loss}" for level in range(len(sides))
             for player, loss in (("D", "discriminator"), ("G", "generator"))]  # fmt: skip
    assert [phase.name for phase in recipe.phases] == names
    random = torch.Generator().manual_seed(0)
    images = recipe.pyramid(recipe.latent(3, random))
    assert [tuple(i.shape) for i in images] == [(3, 3, side, side) for side in sides]


@pytest.mark.parametrize("size, base", [(30, 8), (24, 8), (32, 3), (32, 0), (16, 32)])
def test_a_pyramid_that_does_not_divide_is_refused(size, base):
    with pytest.raises(ConfigError, match=f"images of {size} pixels are not recipe.base {base} do"):
        recipe_of(size, base=base)
    with pytest.raises(ConfigError, match="square images, not 16x32"):
        build("lapgan", DataSpec(3, 16, 32), {})


def test_details_and_coarse_images_add_up():
    level, images = recipe_of(32).levels[2], torch.rand(2, 3, 32, 32) * 2 - 1
    detail, coarse = level.split(images)
    torch.testing.assert_close(detail + coarse, images)
    torch.testing.assert_close(coarse, pyramid_scale(pyramid_scale(images, (16, 16)), (32, 32)))
    below, _ = recipe_of(32).levels[1].split(images)
    assert below.shape == (2, 3, 16, 16)


def test_the_chain_is_the_last_image_and_uses_every_noise():
    recipe = recipe_of(16)
    z = recipe.latent(2, torch.Generator().manual_seed(0))
    assert z.shape == (2, 4 + 16 * 16) and recipe.z_dim == z.shape[1]
    assert torch.equal(recipe.decode(z), recipe.pyramid(z)[-1])
    for part in (slice(0, 4), slice(4, None)):
        other = z.clone()
        other[:, part] = -other[:, part]
        assert not torch.equal(recipe.decode(other), recipe.decode(z))


def test_classes_enter_every_network_or_none():
    with_classes = recipe_of(16, num_classes=3)
    z = with_classes.latent(2, torch.Generator().manual_seed(0))
    iterate(make_trainer(with_classes, "lapgan"), 2)
    zero, one = (with_classes.pyramid(z, torch.full((2,), y)) for y in (0, 1))
    assert all(not torch.equal(a, b) for a, b in zip(zero, one, strict=True))
    without = recipe_of(16, num_classes=3, conditional=False)
    assert without.num_classes == 0
    assert torch.equal(without.decode(z, torch.zeros(2).long()), without.decode(z))


def test_a_level_learns_from_real_coarse_images_alone():
    """No level's loss depends on the generator below: all could be trained apart."""
    recipe = make_recipe("lapgan", exact=True)
    batch = {"image": torch.rand(4, 3, 16, 16), "label": torch.arange(4) % 3}
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        losses.append(recipe.levels[1].generator(batch, Progress())["adv"].item())
        torch.nn.init.normal_(recipe.G.generators[0].linear3.weight)
    assert losses[0] == losses[1]


def test_sgd_is_torch_7s():
    recipe = recipe_of(16, optimizer="sgd", lr=0.02, momentum=0.5, epoch_nimg=100)
    assert recipe.schedule(Progress(9, 99)) == {"lr": 0.02, "momentum": 0.5, "dampening": 0.5}
    later = recipe.schedule(Progress(1000, 10_000))
    assert later["momentum"] == later["dampening"] == pytest.approx(0.58)
    assert later["lr"] == pytest.approx(0.02 / 1.00004**100)
    assert recipe.schedule(Progress(0, 10**9))["momentum"] == 0.7
    before = recipe.G.generators[1].conv1.weight.detach().clone()
    iterate(make_trainer(recipe, "lapgan"), 1)
    assert not torch.equal(recipe.G.generators[1].conv1.weight, before)


def test_losses_of_a_level():
    """Binary cross entropy: D's is the mean over reals and fakes, G wants its fakes to be real."""
    recipe = make_recipe("lapgan", exact=True)
    level = recipe.levels[1]
    images, labels = torch.rand(4, 3, 16, 16) * 2 - 1, torch.arange(4) % 3
    noise = torch.rand(4, 1, 16, 16) * 2 - 1
    level.noise = lambda like: noise
    detail, coarse = level.split(images)
    on_real = level.D(detail, coarse, labels)
    on_fake = level.D(level.G(noise, coarse, labels), coarse, labels)
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    logits = torch.cat([on_real, on_fake])
    batch = {"image": images, "label": labels}
    targets = torch.cat([torch.ones(4), torch.zeros(4)])
    for loss, wanted in (
        (level.discriminator, entropy(logits, targets)),
        (level.generator, entropy(on_fake, torch.ones(4))),
    ):
        torch.testing.assert_close(loss(batch, Progress())["adv"], wanted)
