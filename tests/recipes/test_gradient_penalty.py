"""`penalty: exact | finite_difference` of every recipe that has a gradient penalty."""

import pytest
import torch

from largegan.recipe import Progress
from largegan.recipes import TABLE, options_class
from largegan.recipes.gradient_penalty import GradientPenaltyOptions, two_sided, zero_centered
from tests.recipes.common import TINY, build, iterate, make_trainer, spec_of

PENALIZED = [name for name in TABLE if issubclass(options_class(name), GradientPenaltyOptions)]


def made(name: str, penalty: str, **options):
    torch.manual_seed(0)
    return build(name, spec_of(name), TINY[name] | {"penalty": penalty} | options)


def test_the_recipes_with_a_penalty_have_the_choice():
    assert {"gaussian", "wgan_gp", "stylegan2", "stylegan3", "r3gan"} <= set(PENALIZED)


@pytest.mark.parametrize("name", PENALIZED)
def test_nothing_differentiates_twice_for_a_finite_difference(name, monkeypatch):
    """Neither says so nor does so; path lengths, where there are any, are another matter."""
    trainer = make_trainer(made(name, "finite_difference"), name)
    asked = []
    grad = torch.autograd.grad

    def spy(*args, create_graph=False, **kwargs):
        asked.append(create_graph)
        return grad(*args, create_graph=create_graph, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", spy)
    micro = trainer.next_micro_batches()
    for index, phase in enumerate(trainer.recipe.phases):
        if phase.player != "D":
            continue
        asked.clear()
        trainer.run_phase(phase, micro, (index, 0))
        assert not phase.second_order and not any(asked), phase.name


@pytest.mark.parametrize("name", PENALIZED)
def test_it_trains(name):
    """Weights move, and stay finite; other weights than with second derivatives."""
    ends = {}
    for penalty in ("exact", "finite_difference"):
        trainer = iterate(make_trainer(made(name, penalty), name), 5)
        assert trainer.bad_steps.total == 0
        weights = [p.flatten() for p in trainer.engine.params["D"]]
        ends[penalty] = torch.cat(weights).detach()
        assert ends[penalty].isfinite().all()
    assert not torch.equal(*ends.values())


def test_both_see_the_same_augmentation():
    """A critic that draws: the difference is that of its images alone."""

    def critic(x):
        return (x * torch.randn(x.shape)).sum((1, 2, 3))

    torch.manual_seed(1)
    x = torch.zeros(4, 3, 8, 8)
    _, found = zero_centered(critic, x, "finite_difference")
    assert float(found) > 0  # the slope of a linear critic, and no jump between two draws ...
    assert float(found) < 2 * 3 * 8 * 8  # ... which would be of the order of (1 / sigma)^2
    state = torch.random.get_rng_state()
    torch.manual_seed(1)
    critic(x), torch.randn(x.shape)
    assert torch.equal(torch.random.get_rng_state(), state), "the repeated draws went on"


@pytest.mark.parametrize("penalty", ["exact", "finite_difference"])
def test_penalties_are_computed_in_float32(penalty):
    types = []

    def critic(x):
        y = x.flatten(1) @ torch.ones(12, 1)
        types.append(y.dtype)
        return y.squeeze(1)

    x = torch.rand(4, 3, 2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        zero_centered(critic, x, penalty)
        two_sided(critic, x, x, penalty)
    assert set(types) == {torch.float32}


def test_lazy_penalty_of_a_difference_weighs_its_interval():
    recipe = made("stylegan3", "finite_difference", r1_every=16)
    assert [p.every for p in recipe.phases] == [1, 1, 16]
    recipe.batch_size = 8
    batch = make_trainer(recipe, "stylegan3").next_micro_batches()[0]
    assert recipe.r1(batch, Progress())["r1"] > 0
