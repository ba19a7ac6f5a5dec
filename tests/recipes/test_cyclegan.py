"""What is CycleGAN's own, besides the golden cases, where both domains weigh the same."""

import pytest
import torch

from largegan.recipe import Progress
from largegan.recipes import build
from tests.recipes.common import TINY, TWO_DOMAINS, make_recipe, make_trainer


def test_each_domain_has_its_own_weight():
    """Of a cycle and of the identity that begin in it."""
    batch = make_trainer(make_recipe("cyclegan"), "cyclegan").next_micro_batches()[0]
    terms = []
    for a, b in ((1.0, 1.0), (3.0, 7.0)):
        torch.manual_seed(0)
        recipe = build("cyclegan", TWO_DOMAINS, TINY["cyclegan"] | {"cycle_a": a, "cycle_b": b})
        terms.append({n: t.item() for n, t in recipe.generators(dict(batch), Progress()).items()})
    ratios = {name: terms[1][name] / value for name, value in terms[0].items()}
    wanted = {"gan_ab": 1, "gan_ba": 1, "cycle_a": 3, "cycle_b": 7, "identity_a": 3}
    assert ratios == pytest.approx(wanted | {"identity_b": 7}, rel=1e-5)


def test_directions_have_the_networks_that_learn_them():
    """D_b judges what G_ab makes, and a_to_b translates by its average."""
    recipe = make_recipe("cyclegan")
    batch = make_trainer(recipe, "cyclegan").next_micro_batches()[0]
    recipe.D_b.forward = lambda images: images.mean((1, 2, 3), keepdim=True)
    recipe.generators(batch, Progress())["gan_ab"].backward()
    assert any(p.grad is not None for p in recipe.G_ab.parameters())
    assert all(p.grad is None for p in recipe.G_ba.parameters())
    for direction, net in (("a_to_b", recipe.G_ab), ("b_to_a", recipe.G_ba)):
        ours = recipe.translator(direction).state_dict()
        assert all(torch.equal(ours[name], value) for name, value in net.state_dict().items())
