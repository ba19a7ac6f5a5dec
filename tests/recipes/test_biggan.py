"""What is BigGAN's own, besides the golden cases."""

import pytest
import torch

from largegan.recipe import Progress
from tests.recipes.common import make_recipe, make_trainer


@pytest.mark.parametrize("name", ["biggan", "biggan_deep"])
def test_classes_may_be_alike(name):
    """The orthogonal penalty is on every weight of G but the embedding of the classes."""
    recipe = make_recipe(name)
    trainer = make_trainer(recipe, name)
    penalty = recipe.generator(trainer.next_micro_batches()[0], Progress())["ortho"]
    penalty.backward()
    pushed = {n for n, p in recipe.G.named_parameters() if p.grad is not None and p.grad.any()}
    assert pushed and not any(n.startswith("shared.") for n in pushed)
    with torch.no_grad():
        recipe.G.shared.weight.fill_(1.0)
    torch.testing.assert_close(
        recipe.generator(trainer.next_micro_batches()[0], Progress())["ortho"], penalty
    )


@pytest.mark.parametrize("name", ["biggan", "biggan_deep"])
def test_truncation_draws_again_what_is_far_out(name):
    recipe, z = make_recipe(name), torch.randn(500, 6)
    near = recipe.truncate(z, 0.5, torch.Generator().manual_seed(0))
    inside = z.abs() <= 0.5
    assert near.abs().max() <= 0.5 and torch.equal(near[inside], z[inside])
    assert near[~inside].unique().numel() > 0.9 * (~inside).sum(), "drawn, not cut off"


@pytest.mark.parametrize("name", ["biggan", "sagan"])
def test_watched_logits_have_their_names(name):
    recipe = make_recipe(name)
    batch = make_trainer(recipe, name).next_micro_batches()[0]

    def only_reals_please(images, *classes):
        return torch.stack([image.eq(image[0, 0, 0]).all().float() * 6 - 3 for image in images])

    # Reals of one color, which no generator draws.
    batch["image"] = torch.full_like(batch["image"], 0.25)
    recipe.D.forward = only_reals_please
    recipe.discriminator(batch, Progress())
    watched = recipe.take_watched()
    assert watched["logit_real"] == 3 and watched["logit_fake"] == -3
