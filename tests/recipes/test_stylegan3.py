"""What is StyleGAN3's own: published rules, blur that fades, whose images its means follow."""

import pytest
import torch

from largegan.augment.blur import gaussian_blur
from largegan.errors import ConfigError
from largegan.recipe import DataSpec, Progress
from largegan.recipes import build
from tests.recipes.common import IMAGES, TINY, iterate, make_recipe, make_trainer

SQUARE = DataSpec(3, 16, 16)


def tiny(spec: DataSpec = SQUARE, **options):
    return build("stylegan3", spec, TINY["stylegan3"] | options)


@pytest.mark.parametrize("spec", [DataSpec(4, 16, 32), DataSpec(1, 32, 16, 2)], ids=str)
@pytest.mark.parametrize("configuration", ["t", "r"])
@pytest.mark.parametrize("augment", ["ada", "diffaugment", "none"])
def test_odd_shapes_train(spec, configuration, augment):
    recipe = tiny(spec, configuration=configuration, augment=augment, ada_p=1.0)
    recipe.set_batch_size(4)
    batch = {"image": torch.rand(4, spec.channels, spec.height, spec.width) * 2 - 1}
    batch["label"] = torch.zeros(4, dtype=torch.long)
    for phase in recipe.phases:
        loss = sum(phase.loss(batch, Progress()).values())
        loss.backward()
        assert loss.isfinite()
    assert recipe.sample(2, torch.Generator()).shape == (2, *batch["image"].shape[1:])


@pytest.mark.parametrize(
    ("size", "batch", "published"), [(1024, 32, 32.8), (512, 32, 8.2), (256, 64, 1.0)]
)
def test_the_rule_for_gamma_gives_the_published_values(size, batch, published):
    recipe = tiny()
    recipe.batch_size = batch
    found = recipe.gamma(torch.zeros(1, 3, 1, 1).expand(1, 3, size, size))
    assert found == pytest.approx(published, rel=0.03)


def test_rates_widths_and_averages_are_the_published_ones():
    with torch.device("meta"):
        small = {"z_dim": 8, "w_dim": 8}
        t = build("stylegan3", DataSpec(3, 256, 256), small)
        r = build("stylegan3", DataSpec(3, 256, 256), small | {"configuration": "r"})
        large = build("stylegan3", DataSpec(3, 1024, 1024), small)
    widths = [[len(layer.weight) for layer in net.G.synthesis.layers] for net in (t, r, large)]
    assert widths[0][0] == 512 and widths[1][0] == 1024 and widths[2][-2:] == [32, 3]
    assert widths[1][-2] == 2 * widths[0][-2] == 128
    assert t.G.synthesis.layers[0].kernel == 3 and r.G.synthesis.layers[0].kernel == 1
    steps = {n: p.make_optimizer([torch.zeros(1)]).defaults for n, p in t.players.items()}
    assert steps["G"]["lr"] == 0.0025 and steps["G"]["betas"] == (0.0, 0.99)
    assert steps["D"]["lr"] == pytest.approx(0.002 * 16 / 17)
    recipe = tiny()
    recipe.set_batch_size(32)
    assert recipe.G.synthesis.layers[0].magnitude.beta == pytest.approx(0.5 ** (32 / 20_000))
    recipe.after_iteration(Progress(1, 32), 32)
    assert recipe.G_ema.halflife_nimg == 10_000


def test_the_first_average_is_a_copy():
    """The ramp-up counts images before the iteration: none."""
    trainer = iterate(make_trainer(make_recipe("stylegan3"), "stylegan3"), 1)
    recipe = trainer.recipe
    for mine, theirs in zip(recipe.G_ema.net.parameters(), recipe.G.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    iterate(trainer, 1)
    pairs = zip(recipe.G_ema.net.parameters(), recipe.G.parameters(), strict=True)
    assert not all(torch.equal(a, b) for a, b in pairs)


def test_means_follow_the_images_of_the_discriminator_alone():
    """Each phase of an iteration: only D's adds to the mean w and to the magnitudes."""
    trainer = make_trainer(make_recipe("stylegan3"), "stylegan3")
    recipe, micro = trainer.recipe, trainer.next_micro_batches()
    layer = recipe.G.synthesis.layers[0]
    for index, phase in enumerate(recipe.phases):
        before = recipe.G.mapping.w_avg.mean.clone(), layer.magnitude.mean.clone()
        trainer.run_phase(phase, micro, (index, 0))
        moved = not torch.equal(recipe.G.mapping.w_avg.mean, before[0])
        assert moved == (not torch.equal(layer.magnitude.mean, before[1]))
        assert moved == (phase.name == "D.discriminator")
    ema = recipe.G_ema.net
    iterate(trainer, 1)
    assert torch.equal(ema.mapping.w_avg.mean, recipe.G.mapping.w_avg.mean)


def test_r_begins_blurred_and_t_does_not():
    for configuration, sigma in (("r", 10.0), ("t", 0.0)):
        recipe = tiny(configuration=configuration)
        recipe.set_batch_size(32)
        assert recipe.blur(Progress()) == sigma
        assert recipe.blur(Progress(0, 100_000)) == sigma / 2
        assert recipe.blur(Progress(0, 300_000)) == 0
    own = tiny(blur_sigma=4.0, blur_fade_nimg=1000)
    own.set_batch_size(8)
    assert own.blur(Progress(0, 750)) == pytest.approx(1.0)


def test_d_sees_reals_and_fakes_blurred_and_r1_passes_the_blur():
    recipe = tiny(blur_sigma=3.0, blur_fade_nimg=1000, augment="none", conditional=False)
    recipe.set_batch_size(8)
    x, at = torch.rand(4, 3, 16, 16), Progress(0, 500)
    blurred = gaussian_blur(x, 1.5)
    assert not torch.equal(blurred, x)
    torch.testing.assert_close(recipe.judge(x, None, at), recipe.D(blurred))
    x.requires_grad_()
    (slope,) = torch.autograd.grad(recipe.D(gaussian_blur(x, 1.5)).sum(), x)
    expected = recipe.gamma(x) / 2 * slope.square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(recipe.r1({"image": x}, at)["r1"], expected, rtol=1e-4, atol=0)


def test_blur_keeps_a_flat_inside_and_nothing_without_sigma():
    x = torch.ones(1, 2, 31, 31)
    assert gaussian_blur(x, 0.0) is x and gaussian_blur(x, 0.3) is x
    found = gaussian_blur(x, 3.0)
    torch.testing.assert_close(found[..., 12:19, 12:19], x[..., 12:19, 12:19])
    assert found[0, 0, 0, 0] < 0.5


def test_a_moved_input_moves_the_sample():
    recipe = tiny(layers=4, margin=6)
    ws = recipe.ws(torch.randn(2, 4))
    assert torch.equal(
        recipe.synthesize_moved(ws, torch.eye(3)).clamp(-1, 1), recipe.synthesize(ws)
    )
    shift = torch.eye(3)
    shift[0, 2] = 0.25
    assert not torch.allclose(recipe.synthesize_moved(ws, shift), recipe.synthesize(ws))


@pytest.mark.parametrize(
    ("spec", "options", "said"),
    [
        (DataSpec(3, 48, 48), {}, "powers of two"),
        (DataSpec(3, 32, 33), {"layers": 6}, "multiple of"),
        (SQUARE, {"first_cutoff": 6.0, "first_stopband": 5.0}, "first cutoff 6"),
        (SQUARE, {"critical": 3}, "critically"),
        (SQUARE, {"last_stopband": 0.5}, "last stopband"),
        (SQUARE, {"ada_p": 1.5}, r"ada_p is 1\.5"),
        (SQUARE, {"freeze_d": 99}, "freeze_d is 99"),
        (SQUARE, {"margin": -1}, "margin"),
        (SQUARE, {"filter_size": 0}, "filter_size"),
    ],
)
def test_what_cannot_be_is_refused(spec, options, said):
    with pytest.raises(ConfigError, match=said):
        tiny(spec, **options)


def test_a_batch_below_the_minibatch_group_is_refused():
    recipe = tiny(mbstd_group=8)
    with pytest.raises(ConfigError, match=r"batch_size 4 is less than recipe\.mbstd_group 8"):
        recipe.set_batch_size(4)
    recipe.set_batch_size(8)


def test_truncation_to_nothing_is_the_average_image():
    recipe = build("stylegan3", IMAGES, TINY["stylegan3"])
    z = recipe.latent(3, torch.Generator().manual_seed(0))
    images = recipe.decode_truncated(z, None, 0.0)
    assert torch.equal(images, images[:1].expand_as(images))
    assert torch.equal(recipe.decode_truncated(z, None, 1.0), recipe.decode(z))
