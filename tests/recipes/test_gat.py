"""GAT: what its phases share, how samples are truncated, and what it refuses."""

import pytest
import torch

from largegan.errors import ConfigError
from largegan.losses import align
from largegan.nets.gat import LEVELS, Generator, TransformerOptions
from largegan.recipe import DataSpec, Progress
from largegan.recipes import build
from tests.recipes.common import IMAGES, TINY, iterate, make_recipe, make_trainer

OPTIONS = TINY["gat"]


def test_both_phases_see_the_same_latents():
    recipe = make_recipe("gat")
    recipe.set_batch_size(2)
    batch = {"image": torch.rand(2, 3, 16, 16), "label": torch.tensor([0, 1])}
    recipe.discriminator(batch, Progress())
    z = batch["z"].clone()
    recipe.generator(batch, Progress())
    assert torch.equal(batch["z"], z)


def test_mean_ws_follow_the_generators_steps_alone():
    trainer = make_trainer(make_recipe("gat"), "gat")
    micro = trainer.next_micro_batches()
    means = trainer.recipe.G.mapping.w_avg.mean
    for index, phase in enumerate(trainer.recipe.phases):
        before = means.clone()
        trainer.run_phase(phase, micro, (index, 0))
        assert torch.equal(means, before) == (phase.player == "D")


def test_each_output_adds_to_the_one_before():
    G = Generator(8, 8, TransformerOptions(patch=4, width=16, depth=8, heads=2), z_dim=4)
    z = torch.randn(2, 4)
    before = G(z)
    assert before.shape == (LEVELS, 2, 3, 8, 8)
    G.to_image[2].linear.bias.data += 1
    moved = G(z) - before
    torch.testing.assert_close(moved[:2], torch.zeros_like(moved[:2]))
    torch.testing.assert_close(moved[2:], torch.ones_like(moved[2:]))


def test_truncation_goes_to_the_mean_of_the_class():
    trainer = iterate(make_trainer(make_recipe("gat"), "gat"), 3)
    recipe, labels = trainer.recipe, torch.tensor([0, 1, 1])
    z = recipe.latent(3, torch.Generator().manual_seed(0))
    average = recipe.decode_truncated(z, labels, 0.0)
    assert torch.equal(average[1], average[2]) and not torch.equal(average[0], average[1])
    assert torch.equal(recipe.decode_truncated(z, labels, 1.0), recipe.decode(z, labels))
    half = recipe.G_ema.net.mapping(z, labels, truncation=0.5)
    whole = recipe.G_ema.net.mapping(z, labels)
    mean = recipe.G_ema.net.mapping.w_avg.mean[labels]
    torch.testing.assert_close(half, (whole + mean) / 2)


def test_rectangles_of_any_channels_and_no_classes():
    recipe = build("gat", DataSpec(2, 8, 16), OPTIONS)
    recipe.set_batch_size(2)
    batch = {"image": torch.rand(2, 2, 8, 16)}
    for phase in recipe.phases:
        assert all(t.isfinite() for t in phase.loss(batch, Progress()).values())
    assert recipe.sample(2, torch.Generator().manual_seed(0)).shape == (2, 2, 8, 16)


@pytest.mark.parametrize("teacher", ["random:test_efficientnet", "random:test_vit"])
def test_the_discriminator_learns_what_a_teacher_says(teacher):
    recipe = build("gat", IMAGES, OPTIONS | {"align": teacher})
    trainer = make_trainer(recipe, "gat")
    assert not any("teacher" in name for name in recipe.state_dict())
    before = [p.clone() for p in recipe.teacher.network.parameters()]
    seen = []
    for _ in range(40):
        trainer.tally.sums.clear()
        trainer.tally.counts.clear()
        iterate(trainer, 1)
        means = trainer.tally.means()
        seen.append(means["D.discriminator/align_class"] + means["D.discriminator/align_patches"])
    assert seen[-1] < 0.9 * seen[0]
    for a, b in zip(before, recipe.teacher.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_teacher_of_another_grid_is_resized():
    on_class, on_patches = torch.randn(2, 5), torch.randn(2, 16, 5)
    targets = torch.randn(2, 1, 5).expand(-1, 49, -1)
    found = align(on_class, on_patches, targets[:, 0], targets)
    wanted = 1 - torch.nn.functional.cosine_similarity(on_patches, targets[:, :16], dim=-1)
    torch.testing.assert_close(found["align_patches"], wanted.mean(1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("spec", "options", "sentence"),
    [
        (DataSpec(3, 18, 16), {}, "does not divide images of 18x16"),
        (DataSpec(3, 16, 16), {"g_depth": 6}, "a multiple of 4"),
        (DataSpec(3, 16, 16), {"g_depth": 0}, "a multiple of 4"),
        (DataSpec(3, 16, 16), {"g_heads": 3}, "recipe.g_width is 16"),
        (DataSpec(3, 16, 16), {"d_width": 12}, "recipe.d_width is 12"),
        (DataSpec(3, 16, 16), {"decoder": "x.pt2"}, "is for latents"),
        (DataSpec(3, 16, 8), {"align": "random:test_vit"}, "compares square images"),
        (DataSpec(4, 16, 16, 0, 0, 0.2), {"align": "random:test_vit"}, "leave it out for latents"),
        (DataSpec(3, 16, 16), {"align": "nonsense"}, "is no network"),
    ],
)
def test_sizes_that_do_not_divide_are_refused(spec, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        build("gat", spec, OPTIONS | options)
