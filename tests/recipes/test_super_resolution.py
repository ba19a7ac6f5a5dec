"""Super-resolution: pairs, ranges, weights of the losses, the order of play, what is refused."""

import pytest
import torch

from largegan.errors import ConfigError, EnvironmentFault
from largegan.layers.resize import imresize
from largegan.losses import PATCH_LOSSES, relativistic
from largegan.recipe import DataSpec, MakesSources, Progress
from largegan.recipes import build
from largegan.recipes.srresnet import reduced
from tests.recipes.common import IMAGES, TINY, iterate, make_recipe, make_trainer

NAMES = ["srresnet", "srgan", "esrgan"]
START = Progress()


def images(n: int = 2, size: int = 16) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, 3, size, size), generator=random).float() / 127.5 - 1


def ready(name: str, **options):
    recipe = build(name, IMAGES, TINY[name] | options)
    recipe.begin_training(torch.device("cpu"))
    return recipe


def test_small_images_are_those_of_a_file():
    small = reduced(images(), 4)
    levels = (small + 1) * 127.5
    torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-4)
    assert small.abs().max() <= 1
    exact = imresize(images(), (4, 4)).clamp(-1, 1)
    assert (small - exact).abs().max() <= 0.5 / 127.5 + 1e-6
    one = reduced(images()[:1], 4)
    assert torch.equal(one, small[:1]), "an image's pair does not depend on its batch"


@pytest.mark.parametrize("name", NAMES)
def test_translation_enlarges(name):
    recipe = make_recipe(name)
    scale = TINY[name]["scale"]
    assert isinstance(recipe, MakesSources)
    source = recipe.sources({"image": images()})
    assert source.shape == (2, 3, 16 // scale, 16 // scale)
    made = recipe.translate(source)
    assert made.shape == (2, 3, 16, 16) and made.abs().max() <= 1
    assert recipe.translate(torch.zeros(1, 3, 5, 7)).shape == (1, 3, 5 * scale, 7 * scale)
    assert recipe.translator("upscale").scale == scale


def test_losses_are_weighed():
    terms = {}
    for weights in ((1.0, 1.0, 1.0), (0.5, 0.25, 0.125)):
        torch.manual_seed(0)
        names = ("pixel_weight", "content_weight", "gan_weight")
        recipe = ready("srgan", **dict(zip(names, weights, strict=True)))
        terms[weights] = recipe.generator({"image": images()}, START)
    one, other = terms.values()
    for key, weight in (("pixel", 0.5), ("content", 0.25), ("gan", 0.125)):
        torch.testing.assert_close(other[key], one[key] * weight)
    assert "content" not in ready("srgan", content_weight=0.0).generator({"image": images()}, START)


def test_the_discriminator_judges_the_fakes_of_the_same_iteration():
    """Made before the generator moved, as published; and its own phase moves no generator."""
    trainer = make_trainer(ready("srgan"), "srgan")
    micro = trainer.next_micro_batches()
    trainer.run_phase(trainer.recipe.phases[0], micro, (0, 0))
    fake = micro[0]["fake"]
    assert not fake.requires_grad
    made = trainer.recipe.G((trainer.recipe.sources(micro[0]) + 1) / 2)
    assert not torch.equal(made, fake), "the generator has moved since"
    assert [phase.name for phase in trainer.recipe.phases] == ["G.generator", "D.discriminator"]


def test_relativistic_losses():
    loss = PATCH_LOSSES["vanilla"]
    real, fake = torch.tensor([2.0, 4.0]), torch.tensor([-1.0, 1.0])
    better, worse = relativistic(loss, real, fake)
    softplus = torch.nn.functional.softplus
    torch.testing.assert_close(better, softplus(-(real - 0.0)).mean())
    torch.testing.assert_close(worse, softplus(fake - 3.0).mean())
    better, worse = relativistic(loss, real, fake, average=False)
    torch.testing.assert_close(better, softplus(fake - real).mean())
    torch.testing.assert_close(worse, better)


def test_esrgans_discriminator_learns_from_no_mean():
    """The gradient through what a logit is compared with is left out, as published."""
    recipe = ready("esrgan")
    batch = {"image": images(), "fake": torch.rand(2, 3, 16, 16)}
    sum(recipe.discriminator(batch, START).values()).backward()
    found = recipe.D.score.weight.grad.clone()
    recipe.zero_grad()
    on_fake, on_real = recipe.D(batch["fake"]), recipe.D((batch["image"] + 1) / 2)
    real = recipe.gan.real(on_real - on_fake.mean().detach()) / 2
    (real + recipe.gan.fake(on_fake - on_real.mean().detach()) / 2).backward()
    torch.testing.assert_close(found, recipe.D.score.weight.grad)


def test_the_content_network_is_no_part_of_a_checkpoint():
    recipe = ready("srgan")
    nets = {name.split(".")[0] for name in recipe.state_dict()}
    assert nets == {"G", "D", "G_ema"}
    iterate(make_trainer(recipe, "srgan"), 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(18, 16), (16, 30)])
def test_a_scale_that_does_not_divide_is_refused(name, shape):
    with pytest.raises(ConfigError, match=r"recipe\.scale 4 does not divide images of"):
        build(name, DataSpec(3, *shape), TINY[name] | {"scale": 4})


def test_missing_weights_stop_training_but_not_translation(monkeypatch, tmp_path):
    for variable in ("LARGEGAN_WEIGHTS", "TORCH_HOME", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    recipe = build("srgan", IMAGES, TINY["srgan"] | {"content": "vgg19"})
    assert recipe.translate(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 16, 16)
    with pytest.raises(EnvironmentFault, match="vgg19"):
        make_trainer(recipe, "srgan")
