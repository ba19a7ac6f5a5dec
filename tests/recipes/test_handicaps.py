"""Handicaps and learning rates of one player: what they do, in every recipe that has them."""

from dataclasses import fields

import pytest
import torch
import torch.nn.functional as F

from largegan.losses import hinge_d, minimax_d
from largegan.recipe import Progress
from largegan.recipes import TABLE, build, options_class
from largegan.recipes.handicaps import HandicapOptions, flipped, noise_at, smoothed_minimax_d
from tests.recipes.common import TINY, example, spec_of

RECIPES = [name for name in TABLE if issubclass(options_class(name), HandicapOptions)]
SETTINGS = {
    "flips of reals": {"label_flip": 0.5},
    "flips of both": {"label_flip": 0.5, "label_flip_sides": "both"},
    "smoothing": {"label_smoothing": 0.2},
    "dropout in D": {"d_dropout": 0.5},
    "dropout in G": {"g_dropout": 0.5},
    "noise": {"instance_noise": 0.5},
    "augmentation": {"augment": "diffaugment"},
}
NO_OP = {"noise that has faded": {"instance_noise": 0.5, "instance_noise_nimg": 1}}


def losses(name: str, options: dict) -> list[float]:
    """Of the discriminator and of the generator, drawn alike every time."""
    torch.manual_seed(0)
    recipe = build(name, spec_of(name), TINY[name] | options)
    rows = [example(spec_of(name), p) for p in range(8)]
    batch = {key: torch.stack([row[key] for row in rows]) for key in rows[0]}
    found = []
    for phase in recipe.phases:
        torch.manual_seed(1)
        with torch.no_grad():
            found.append(float(sum(phase.loss(batch, Progress(1, 8)).values())))
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_each_handicap_changes_a_loss_and_draws_the_same_again(name):
    plain, known = losses(name, {}), {f.name for f in fields(options_class(name))}
    for what, options in SETTINGS.items():
        if not options.keys() <= known:
            continue
        changed = losses(name, options)
        assert changed == losses(name, options), what
        assert changed != plain, what
    for what, options in NO_OP.items():
        assert losses(name, options) == plain, what


def test_six_recipes_have_handicaps_and_three_smooth():
    assert set(RECIPES) == {"gan", "dcgan", "cgan", "sngan", "biggan", "biggan_deep"}
    smooth = [n for n in RECIPES if "label_smoothing" in {f.name for f in fields(options_class(n))}]
    assert smooth == ["gan", "dcgan", "cgan"]


@pytest.mark.parametrize("loss", [minimax_d, hinge_d])
def test_a_flipped_label_is_the_loss_of_the_other_label(loss):
    """Real images that are told to be generated cost what they would as generated ones."""
    images, sure = torch.randn(64), torch.full((1,), 99.0)  # of what is sure nothing is lost
    torch.testing.assert_close(loss(flipped(images, 1.0), -sure), loss(sure, images))


def test_as_many_labels_are_flipped_as_asked():
    torch.manual_seed(0)
    outputs = torch.ones(20_000)
    assert float((flipped(outputs, 0.1) < 0).float().mean()) == pytest.approx(0.1, abs=0.01)
    assert torch.equal(flipped(outputs, 0.0), outputs)


def test_smoothing_is_cross_entropy_with_a_smaller_target():
    real, fake = torch.randn(16), torch.randn(16)
    wanted = F.binary_cross_entropy_with_logits(real, torch.full((16,), 0.8))
    wanted = wanted + F.binary_cross_entropy_with_logits(fake, torch.zeros(16))
    torch.testing.assert_close(smoothed_minimax_d(real, fake, 0.2), wanted)
    assert torch.equal(smoothed_minimax_d(real, fake, 0.0), minimax_d(real, fake))


def test_noise_fades_linearly_and_is_gone():
    options = HandicapOptions(instance_noise=0.4, instance_noise_nimg=100)
    assert [noise_at(n, options) for n in (0, 50, 100, 900)] == pytest.approx([0.4, 0.2, 0, 0])
    assert noise_at(10**9, HandicapOptions(instance_noise=0.4)) == 0.4


@pytest.mark.parametrize("name", RECIPES)
def test_samples_know_no_dropout(name):
    torch.manual_seed(0)
    recipe = build(name, spec_of(name), TINY[name] | {"g_dropout": 0.5, "d_dropout": 0.5})
    z = recipe.latent(3, torch.Generator().manual_seed(0))
    assert torch.equal(recipe.decode(z), recipe.decode(z))


def rates(recipe) -> dict[str, float]:
    """What each player's optimizer steps with at the start."""
    found = {}
    for name, player in recipe.players.items():
        group = player.make_optimizer(player.parameters()).param_groups[0]
        found[name] = (group | player.schedule(Progress()))["lr"]
    return found


TWO_PLAYERS = [
    name for name in TABLE if {"g_lr", "d_lr"} <= {f.name for f in fields(options_class(name))}
]


@pytest.mark.parametrize("name", TWO_PLAYERS)
def test_each_player_can_have_its_own_learning_rate(name):
    plain = rates(build(name, spec_of(name), TINY.get(name, {})))
    for letter, option in (("G", "g_lr"), ("D", "d_lr")):
        changed = rates(build(name, spec_of(name), TINY.get(name, {}) | {option: 0.0125}))
        for player, lr in changed.items():
            mine = player.startswith(letter)
            if mine:  # a lazy phase's correction is at most a half
                assert 0.0125 / 2 <= lr <= 0.0125, player
            else:
                assert lr == plain[player], player


def test_every_recipe_with_a_discriminator_has_two_learning_rates():
    assert set(TABLE) - set(TWO_PLAYERS) == {"gmmn", "gmmn_codes", "gaussian_mmd", "srresnet"}
