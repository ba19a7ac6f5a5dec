"""What is R3GAN's own: five schedules, pairs of the same class, penalties in every step."""

import pytest
import torch

from largegan.errors import ConfigError
from largegan.losses import r1, relativistic_d
from largegan.recipe import DataSpec, Progress, cosine_decay
from largegan.recipes import build
from tests.recipes.common import IMAGES, TINY, iterate, make_recipe, make_trainer


def tiny(spec: DataSpec = IMAGES, **options):
    return build("r3gan", spec, TINY["r3gan"] | options)


def test_every_schedule_starts_and_ends_where_it_should():
    recipe = tiny(lr=3e-4, lr_final=1e-4, gamma=2.0, gamma_final=0.5, augment_p=0.4)
    start, middle, end = (Progress(0, n) for n in (0, 2000, 9999))
    assert recipe.schedule(start) == {"lr": 3e-4, "betas": (0.0, 0.9)}
    assert recipe.schedule(middle)["lr"] == pytest.approx(2e-4)
    assert recipe.schedule(end) == {"lr": pytest.approx(1e-4), "betas": (0.0, pytest.approx(0.99))}
    values = {n: [recipe.value(n, at.nimg) for at in (start, middle, end)] for n in recipe.curves}
    assert values["gamma"] == pytest.approx([2.0, 1.25, 0.5])
    assert values["augment_p"] == pytest.approx([0.0, 0.2, 0.4])
    assert values["ema_halflife_nimg"] == pytest.approx([0.0, 250.0, 500.0])


def test_optimizers_take_the_schedule():
    trainer = iterate(make_trainer(make_recipe("r3gan"), "r3gan"), 3)
    for name in "GD":
        group = trainer.engine.optimizers[name].param_groups[0]
        assert {k: group[k] for k in ("lr", "betas")} == trainer.recipe.schedule(Progress(2, 16))


def test_warm_up_and_hold():
    def at(nimg):
        return cosine_decay(
            2.0, 1.0, nimg, total_nimg=100, warmup_nimg=10, warmup_value=0.5, hold_nimg=30
        )

    assert [at(n) for n in (0, 5, 10, 40)] == pytest.approx([0.5, 1.25, 2.0, 2.0])
    assert [at(n) for n in (70, 100, 200)] == pytest.approx([1.5, 1.0, 1.0])


def test_the_first_average_is_a_copy():
    trainer = iterate(make_trainer(make_recipe("r3gan"), "r3gan"), 1)
    recipe = trainer.recipe
    for mine, theirs in zip(recipe.G_ema.net.parameters(), recipe.G.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_d_and_g_take_batches_of_their_own():
    trainer = iterate(make_trainer(make_recipe("r3gan"), "r3gan", batch_size=8), 1)
    assert trainer.stream.drawn == list(range(16))


def test_the_loss_of_d_is_pairs_and_both_penalties():
    recipe = tiny(augment_p=0.0)
    batch = make_trainer(recipe, "r3gan").next_micro_batches()[0]
    fixed = torch.randn(8, 4)
    recipe.noise = lambda *a, **k: fixed
    terms = recipe.discriminator(batch, Progress())
    c = torch.nn.functional.one_hot(batch["label"], 3).float()
    real, fake = batch["image"].clone().requires_grad_(), recipe.G(fixed, c).detach()
    fake.requires_grad_()
    scores = recipe.D(real, c), recipe.D(fake, c)
    torch.testing.assert_close(terms["adv"], relativistic_d(*scores))
    torch.testing.assert_close(terms["r1"], 0.05 * r1(scores[0], real))
    torch.testing.assert_close(terms["r2"], 0.05 * r1(scores[1], fake))
    assert not any(p.grad is not None for p in recipe.G.parameters())
    (adv,) = recipe.generator(batch, Progress()).values()
    torch.testing.assert_close(adv, relativistic_d(scores[1], scores[0]))


def test_augmentation_grows_with_the_images_seen():
    """None at the start; its penalties pass through it."""
    recipe = tiny(augment_p=1.0)
    x, c = torch.rand(8, 3, 16, 16), torch.eye(3)[torch.zeros(8, dtype=torch.long)]
    assert torch.equal(recipe.judge(x, c, 0.0), recipe.D(x, c))
    assert not torch.allclose(recipe.judge(x, c, 1.0), recipe.D(x, c))


@pytest.mark.parametrize("spec", [DataSpec(4, 16, 24), DataSpec(1, 40, 12, 2)], ids=str)
@pytest.mark.parametrize("penalty", ["exact", "finite_difference"])
def test_odd_shapes_train(spec, penalty):
    recipe = tiny(spec, penalty=penalty)
    batch = {"image": torch.rand(4, spec.channels, spec.height, spec.width) * 2 - 1}
    batch["label"] = torch.zeros(4, dtype=torch.long)
    for phase in recipe.phases:
        loss = sum(phase.loss(batch, Progress(0, 2000)).values())
        loss.backward()
        assert loss.isfinite()
    assert recipe.sample(2, torch.Generator()).shape == (2, *batch["image"].shape[1:])


@pytest.mark.parametrize(
    ("size", "options", "widths", "groups"),
    [
        (32, {}, [768] * 4, [96] * 4),
        (64, {}, [768] * 4 + [384], [96] * 4 + [48]),
        (256, {}, [768] * 4 + [384, 192, 96], [96] * 4 + [48, 24, 12]),
        (64, {"channel_base": 49152, "channel_max": 1536}, [1536] * 4 + [768], [192] * 4 + [96]),
    ],
)
def test_widths_are_the_published_ones(size, options, widths, groups):
    with torch.device("meta"):
        recipe = build("r3gan", DataSpec(3, size, size, 10), options)
    for net in (recipe.G, recipe.D):
        assert [stage[0].expand.weight.shape[1] for stage in net.stages] == widths
        assert [stage[0].mix.groups for stage in net.stages] == groups
        assert [len(stage) for stage in net.stages] == [2] * len(widths)
    assert recipe.D.embed.weight.shape[0] == widths[0] and recipe.G.embed.weight.shape[0] == 64


@pytest.mark.parametrize(
    ("spec", "options", "said"),
    [
        (DataSpec(3, 34, 34), {}, "34x34 ends at 17x17"),
        (DataSpec(3, 3, 3), {}, "3x3 ends at 3x3"),
        (IMAGES, {"group_width": 4, "expansion": 3}, "multiple of the other"),
        (IMAGES, {"augment_p": 1.5}, r"augment_p is 1\.5"),
        (IMAGES, {"schedule_nimg": 0}, "schedule_nimg is 0"),
        (IMAGES, {"blocks": 0}, "blocks is 0"),
        (IMAGES, {"group_width": 0}, "group_width is 0"),
    ],
)
def test_what_cannot_be_is_refused(spec, options, said):
    with pytest.raises(ConfigError, match=said):
        tiny(spec, **options)
