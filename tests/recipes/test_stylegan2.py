"""What is StyleGAN2's own: ADA's p moves and goes on exactly, auto rules, odd shapes, mixing."""

from unittest import mock

import pytest
import torch

from largegan.errors import ConfigError
from largegan.recipe import DataSpec, Progress
from largegan.recipes import build
from tests.recipes.common import IMAGES, TINY, iterate, make_recipe, make_trainer
from tests.recipes.test_every_recipe import restore, save


def values_of_p(trainer, iterations: int) -> list[float]:
    return [float(iterate(trainer, 1).recipe.augment.p) for _ in range(iterations)]


def test_p_moves_and_is_resumed_exactly(tmp_path):
    """Cut between two changes of p: the signs counted so far decide the next one."""
    whole = make_trainer(make_recipe("stylegan2"), "stylegan2")
    start = float(whole.recipe.augment.p)
    before = values_of_p(whole, 6)
    path = save(whole, tmp_path)
    signs = whole.recipe.augment.signs.clone()
    after = values_of_p(whole, 6)
    assert len({start, *before, *after}) >= 3, "p must have moved, or this test proves nothing"
    resumed = make_trainer(make_recipe("stylegan2", seed=9), "stylegan2")
    restore(resumed, path)
    assert torch.equal(resumed.recipe.augment.signs, signs) and signs[1] == 2 * 8
    assert values_of_p(resumed, 6) == after


@pytest.mark.parametrize("sure", [5.0, -5.0])
def test_p_follows_what_d_is_sure_of(sure):
    trainer = make_trainer(make_recipe("stylegan2"), "stylegan2")
    recipe = trainer.recipe
    with torch.no_grad():
        recipe.D.out.weight.zero_()
        recipe.D.out.bias.fill_(0.0)
    recipe.augment.observe(torch.full((8,), sure))
    recipe.absorb_pending()
    start = float(recipe.augment.p)
    recipe.augment.adapt(4, 8)
    assert (float(recipe.augment.p) - start) * sure > 0


def test_without_noise_inputs_a_latent_decides_alone():
    spec, z = DataSpec(3, 16, 16), torch.randn(2, TINY["stylegan2"]["z_dim"])
    for noise in (True, False):
        torch.manual_seed(0)
        recipe = build("stylegan2", spec, TINY["stylegan2"] | {"noise": noise})
        for parameter in recipe.G.parameters():  # strengths start at 0
            torch.nn.init.normal_(parameter)
        assert torch.equal(recipe.G(z), recipe.G(z)) != noise
        assert any("noise" in name for name, _ in recipe.G.named_parameters()) == noise


def test_auto_rules_follow_size_and_batch():
    recipe = build("stylegan2", DataSpec(3, 16, 32), TINY["stylegan2"])
    recipe.batch_size = 32
    assert recipe.gamma(torch.zeros(1, 3, 16, 32)) == pytest.approx(0.0002 * 512 / 32)
    recipe.after_iteration(Progress(1, 32), 32)
    assert recipe.G_ema.halflife_nimg == 10_000
    lr = 0.0025
    steps = {n: p.make_optimizer(p.parameters()) for n, p in recipe.players.items()}
    assert steps["G"].defaults["lr"] == pytest.approx(lr * 4 / 5)
    assert steps["D"].defaults["lr"] == pytest.approx(lr * 16 / 17)
    assert steps["D"].defaults["betas"] == (0.0, pytest.approx(0.99 ** (16 / 17)))
    with torch.device("meta"):
        large = build("stylegan2", DataSpec(3, 1024, 1024), {"w_dim": 8, "z_dim": 8})
    assert large.D.blocks[0].conv0.weight.shape[0] == 32
    assert large.players["D"].make_optimizer([torch.zeros(1)]).defaults["lr"] < 0.002


def test_styles_mix_from_a_random_layer_on():
    recipe = make_recipe("stylegan2")
    c = torch.nn.functional.one_hot(torch.tensor([0, 1]), 3).float()
    with mock.patch.object(torch, "rand", lambda *a, **k: torch.tensor(0.5)):
        ws = recipe.mixed_ws(torch.zeros(2, 3, 16, 16), c)
    first = (ws == ws[:, :1]).all(2).all(0)
    assert first[0] and not first[-1]
    recipe.style_mixing = 0.0
    ws = recipe.mixed_ws(torch.zeros(2, 3, 16, 16), c)
    assert torch.equal(ws, ws[:, :1].expand_as(ws))


@pytest.mark.parametrize("spec", [DataSpec(4, 8, 16), DataSpec(1, 12, 20, 2)], ids=str)
@pytest.mark.parametrize("augment", ["ada", "diffaugment", "none"])
def test_odd_shapes_train(spec, augment):
    recipe = build("stylegan2", spec, TINY["stylegan2"] | {"augment": augment, "ada_p": 1.0})
    recipe.batch_size = 4
    batch = {"image": torch.rand(4, spec.channels, spec.height, spec.width) * 2 - 1}
    batch["label"] = torch.zeros(4, dtype=torch.long)
    for phase in recipe.phases:
        loss = sum(phase.loss(batch, Progress()).values())
        loss.backward()
        assert loss.isfinite()
    assert recipe.sample(2, torch.Generator()).shape == (2, *batch["image"].shape[1:])


def test_truncation_to_nothing_is_the_average_image():
    recipe = make_recipe("stylegan2")
    z = recipe.latent(3, torch.Generator().manual_seed(0))
    images = recipe.decode_truncated(z, None, 0.0)
    assert torch.equal(images, images[:1].expand_as(images))
    assert torch.equal(recipe.decode_truncated(z, None, 1.0), recipe.decode(z))


def test_no_path_lengths_no_phase():
    recipe = build("stylegan2", IMAGES, TINY["stylegan2"] | {"pl_weight": 0.0})
    assert [phase.name for phase in recipe.phases] == ["G.generator", "D.discriminator", "D.r1"]


def test_p_outside_of_0_to_1_is_refused():
    with pytest.raises(ConfigError, match=r"ada_p is 1\.5"):
        build("stylegan2", IMAGES, {"ada_p": 1.5})


class Twice(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def test_r1_is_the_slope_at_images_that_are_not_augmented():
    recipe = make_recipe("stylegan2")
    recipe.augment = Twice()
    batch = make_trainer(recipe, "stylegan2").next_micro_batches()[0]
    x = batch["image"].clone().requires_grad_()
    (slope,) = torch.autograd.grad(recipe.D(2 * x, recipe.condition(batch)).sum(), x)
    expected = recipe.gamma(x) / 2 * slope.square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(recipe.r1(batch, Progress())["r1"], expected, atol=0, rtol=1e-4)


def test_p_counts_the_signs_of_reals():
    recipe = make_recipe("stylegan2")
    batch = make_trainer(recipe, "stylegan2").next_micro_batches()[0]
    real, fake = torch.full((8, 1), 5.0), torch.full((8, 1), -5.0)

    def judge(images, c):
        return real if images is batch["image"] else fake

    with mock.patch.object(recipe, "judge", judge):
        recipe.discriminator(batch, Progress())
    assert recipe.augment.pending.tolist() == [8.0, 8.0]


def test_the_mean_w_is_of_first_latents_and_is_not_averaged_again():
    recipe = make_recipe("stylegan2")
    recipe.style_mixing = 1.0
    trainer = make_trainer(recipe, "stylegan2")
    batch = trainer.next_micro_batches()[0]
    recipe.fake(batch)
    assert recipe.G.mapping.w_avg.pending[-1] == len(batch["image"])
    iterate(trainer, 3)
    assert recipe.G.mapping.w_avg.mean.any()
    assert torch.equal(recipe.G_ema.net.mapping.w_avg.mean, recipe.G.mapping.w_avg.mean)
