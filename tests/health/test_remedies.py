"""Remedies are settings that the run really has, and other than those it has now."""

import pytest

from largegan.config.parse import as_dict, build_parser
from largegan.health.remedies import REMEDIES, remedies
from largegan.recipes import TABLE
from largegan.run.directory import flatten
from tests.health.test_signals import WITHOUT_DISCRIMINATOR

HANDICAPPED = {"label_flip": 0.1, "instance_noise": 0.2, "d_dropout": 0.3}


def settings_of(recipe: str, **options) -> dict:
    config = build_parser(recipe).get_defaults()
    for name, value in options.items():
        config.recipe[name] = value
    found = flatten(as_dict(config))
    # What null means there is said by the run, which knows its optimizers.
    return found | ({"recipe.lr": 2e-3} if found.get("recipe.lr", 0) is None else {})


@pytest.mark.parametrize("recipe", TABLE)
def test_every_remedy_is_a_setting_of_the_run(recipe):
    """Names that the configuration knows, values of its types, none that is set already."""
    now, parser = settings_of(recipe), build_parser(recipe)
    found = [(verdict, one) for verdict in REMEDIES for one in remedies(verdict, now)]
    settings = {name: value for _, one in found for name, value in one.settings.items()}
    if recipe in WITHOUT_DISCRIMINATOR:
        return
    assert {verdict for verdict, _ in found} >= set(REMEDIES) - {"random_feedback"}
    for name, value in settings.items():
        assert name in now and now[name] != value, name
    words = [f"--{name}={value}" for name, value in settings.items()]
    taken = flatten(as_dict(parser.parse_args([f"--recipe.name={recipe}", *words])))
    assert {name: taken[name] for name in settings} == settings


def test_what_is_recommended_first_comes_first():
    first = [
        next(iter(one.settings))
        for one in remedies("discriminator_dominates", settings_of("dcgan"))
    ]
    assert first[:3] == ["recipe.label_flip", "recipe.d_dropout", "recipe.g_channels"]
    assert next(iter(remedies("mode_collapse", settings_of("dcgan", z_dim=2)))).settings == {
        "recipe.z_dim": 8
    }


@pytest.mark.parametrize("option", HANDICAPPED)
def test_a_handicap_is_taken_away_from_who_is_too_weak(option):
    now = settings_of("dcgan", **{option: HANDICAPPED[option]})
    first = next(iter(remedies("random_feedback", now)))
    assert first.settings == {f"recipe.{option}": 0.0}


@pytest.mark.parametrize("verdict", ["discriminator_overfits", "memorises"])
def test_a_remedy_that_was_taken_is_not_proposed_again(verdict):
    now = settings_of("dcgan")
    first = next(iter(remedies(verdict, now)))
    again = remedies(verdict, now | dict(first.settings))
    assert all(dict(one.settings) != dict(first.settings) for one in again)
