"""ALI and BiGAN: which pair is real, which codes are drawn, and that the averages are used."""

import pytest
import torch
import torch.nn.functional as F

from largegan.recipe import HasEncoder, Progress
from tests.recipes.common import iterate, make_recipe, make_trainer

START = Progress()
NAMES = ["ali", "bigan"]


def images() -> torch.Tensor:
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("name", NAMES)
def test_the_pair_with_an_image_of_the_data_counts_as_real(name):
    """D wants logits of (x, E(x)) up and of (G(z), z) down; generator and encoder the reverse."""
    recipe = make_recipe(name, exact=True)
    on_data, on_made = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 3.0])
    recipe.logits = lambda images: (on_data, on_made)
    half = 2 if name == "bigan" else 1
    wanted_d = (F.softplus(-on_data).mean() + F.softplus(on_made).mean()) / half
    wanted_g = (F.softplus(on_data).mean() + F.softplus(-on_made).mean()) / half
    batch = {"image": images()}
    torch.testing.assert_close(recipe.discriminator(batch, START)["adv"], wanted_d)
    torch.testing.assert_close(recipe.generator(batch, START)["adv"], wanted_g)


def test_codes_are_drawn_around_the_encoders_mean_each_number_for_itself():
    recipe, seen = make_recipe("ali", exact=True), []
    judge = recipe.D.forward
    recipe.D.forward = lambda x, z: seen.append(z) or judge(x, z)
    torch.manual_seed(0)
    recipe.logits(images())
    torch.manual_seed(0)
    z, noise = torch.randn(4, 4), torch.randn(4, 4)
    mean, log_std = recipe.E(images())
    torch.testing.assert_close(seen[0], mean + log_std.exp() * noise)
    assert torch.equal(seen[1], z)


@pytest.mark.parametrize("name", NAMES)
def test_codes_come_from_the_average_and_are_not_drawn(name):
    recipe = make_recipe(name)
    iterate(make_trainer(recipe, name), 2)
    assert isinstance(recipe, HasEncoder)
    codes = recipe.encode(images())
    assert codes.shape == (4, 4) and torch.equal(codes, recipe.encode(images()))
    alone = torch.cat([recipe.encode(image[None]) for image in images()])
    torch.testing.assert_close(alone, codes, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for parameter in recipe.E.parameters():
            parameter.zero_()
    assert torch.equal(recipe.encode(images()), codes)
    assert recipe.decode(codes).shape == (4, 3, 16, 16)
