"""Fine-tuning: what is taken over from another run, what begins anew, what is refused."""

import pytest
import torch

from largegan import checkpoint
from largegan.errors import ConfigError
from largegan.recipe import DataSpec
from largegan.recipes import build
from largegan.run.finetune import starting_weights
from largegan.train import main
from tests.recipes.common import TINY, iterate, make_recipe, make_trainer
from tests.test_resume import arguments

SPEC = DataSpec(channels=3, height=16, width=16, num_classes=3)


def saved(folder, name: str, **options):
    """A checkpoint of a recipe that has trained a little on three classes."""
    torch.manual_seed(0)
    trainer = make_trainer(build(name, SPEC, TINY[name] | options), name)
    iterate(trainer, 5)
    state = {"spec": vars(SPEC), "config": {"recipe": {"name": name}}}
    content = checkpoint.Checkpoint(
        trainer.engine.model_state(), trainer.engine.optimizer_state(), state
    )
    return checkpoint.save(folder, trainer.at.nimg, content), trainer.recipe


def tuned(path, name: str, classes: int, **options):
    torch.manual_seed(1)
    spec = DataSpec(channels=3, height=16, width=16, num_classes=classes)
    options = TINY[name] | options
    recipe = build(name, spec, options)
    state, notes = starting_weights(path, recipe, spec, name=name, options=options)
    recipe.load_state_dict(state, strict=False)
    return recipe, notes


@pytest.mark.parametrize("name", ["stylegan2", "sngan"])
def test_the_same_classes_take_everything_but_the_state_of_the_run(name, tmp_path):
    path, before = saved(tmp_path, name)
    after, _ = tuned(path, name, 3)
    for key, value in before.state_dict().items():
        assert torch.equal(after.state_dict()[key], value) != (key in before.run_state), key


@pytest.mark.parametrize("classes", [5, 2, 0])
@pytest.mark.parametrize("name", ["stylegan2", "sngan"])
def test_other_classes_take_what_both_have(name, classes, tmp_path):
    path, before = saved(tmp_path, name)
    after, notes = tuned(path, name, classes)
    assert f"classes: 3 -> {classes}" in notes[1]
    old, new = before.state_dict(), after.state_dict()
    kept = [key for key in new if key in old and torch.equal(new[key], old[key])]
    assert len(kept) > 0.6 * len(new)
    changed = {key for key in new if key in old and new[key].shape != old[key].shape}
    assert changed or classes == 0  # layers that only classes need are not in `new` at all
    for key in changed:
        sizes = zip(old[key].shape, new[key].shape, strict=True)
        common = tuple(slice(min(pair)) for pair in sizes)
        assert torch.equal(new[key][common], old[key][common]), key
        assert any(key in note for note in notes)


def test_another_architecture_is_refused_by_name(tmp_path):
    path, _ = saved(tmp_path, "stylegan2")
    with pytest.raises(ConfigError, match=r"holds .* as \[4"):
        tuned(path, "stylegan2", 3, w_dim=8)


def test_another_shape_or_recipe_is_refused(tmp_path):
    path, _ = saved(tmp_path, "sngan")
    recipe, spec = make_recipe("sngan"), DataSpec(1, 32, 32, 3)
    with pytest.raises(ConfigError, match=r"images of 3x16x16 .* these data have 1x32x32"):
        starting_weights(path, recipe, spec, name="sngan", options=TINY["sngan"])
    with pytest.raises(ConfigError, match="is of recipe sngan, this run is of dcgan"):
        starting_weights(path, recipe, SPEC, name="dcgan", options=TINY["dcgan"])


def test_frozen_layers_stay_and_the_others_learn(tmp_path):
    path, before = saved(tmp_path, "stylegan2")
    recipe, _ = tuned(path, "stylegan2", 3, freeze_d=3)
    trainer = iterate(make_trainer(recipe, "stylegan2"), 2)
    frozen = {
        f"D.blocks.0.{layer}.{part}"
        for layer in ("from_image", "conv0", "conv1")
        for part in ("weight", "bias")
    }
    old = before.state_dict()
    for key, value in recipe.D.state_dict(prefix="D.").items():
        assert torch.equal(value, old[key]) == (key in frozen), key
    assert not frozen & {name for name, _ in recipe.named_parameters()}
    assert not any(key.split("/")[1] in frozen for key in trainer.engine.optimizer_state())


def test_too_many_frozen_layers_are_refused():
    with pytest.raises(ConfigError, match=r"freeze_d is 9; .* from 0 to 7"):
        build("stylegan2", SPEC, {**TINY["stylegan2"], "freeze_d": 9})


def test_a_run_starts_from_another_and_resumes_itself(tmp_path, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(arguments("gan", first, 64)) == 0
    options = {"run.init_from": first}
    assert main(arguments("gan", second, 32, **options)) == 0
    assert "starting from the weights of" in capsys.readouterr().out
    assert main(arguments("gan", second, 64, **options, **{"run.resume": "auto"})) == 0
    out = capsys.readouterr().out
    assert "resuming from" in out and "starting from the weights" not in out


@pytest.mark.parametrize("generator, later", [("srresnet", "srgan"), ("rrdb", "esrgan")])
def test_a_second_stage_takes_the_first_ones_networks(generator, later, tmp_path):
    """Whole, averages included, at any image size; only the discriminator begins anew."""
    path, before = saved(tmp_path, "srresnet", generator=generator, scale=4)
    options = TINY[later] | {"generator": generator, "scale": 4}
    recipe = build(later, DataSpec(channels=3, height=32, width=32), options)
    fresh = {k: v.clone() for k, v in recipe.state_dict().items()}
    spec = DataSpec(channels=3, height=32, width=32)
    state, notes = starting_weights(path, recipe, spec, name=later, options=options)
    assert set(state) == set(fresh)
    for key, value in state.items():
        wanted = before.state_dict().get(key, fresh[key])
        assert torch.equal(value, wanted), key
    assert notes == [f"starting from G, G_ema of srresnet, {path}", "  begins anew: D"]


def test_a_second_stage_of_another_shape_is_refused(tmp_path):
    path, _ = saved(tmp_path, "srresnet")
    for other in ({"channels": 6}, {"blocks": 2}, {"generator": "msrresnet"}):
        options = TINY["srgan"] | other
        recipe = build("srgan", SPEC, options)
        with pytest.raises(ConfigError, match="give it the options of that run of srr"):
            starting_weights(path, recipe, SPEC, name="srgan", options=options)
    recipe = build("dcgan", SPEC, TINY["dcgan"])
    with pytest.raises(ConfigError, match="is of recipe srresnet, this run is of dcgan"):
        starting_weights(path, recipe, SPEC, name="dcgan", options=TINY["dcgan"])
