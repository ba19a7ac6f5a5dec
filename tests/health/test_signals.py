"""Signals of every recipe: there, in their range, and without a trace in training."""

import pytest
import torch

from largegan.health.observer import Observer
from largegan.health.scores import auc, statistics
from largegan.health.signals import PREFIX, SIGNALS
from largegan.recipe import Scored
from tests.health.watching import look, signals_after, watched
from tests.recipes.common import NAMES, iterate, make_recipe, make_trainer, weights

WITHOUT_DISCRIMINATOR = {"gmmn", "gmmn_codes", "gaussian_mmd", "srresnet"}
OFTEN = {
    name
    for name, row in SIGNALS.items()
    if row.often and name.split("/")[1] not in ("skipped_steps", "singular_max", "overfit")
} - {"health/accuracy_seen", "health/accuracy_held_out"}


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_heard_and_trains_as_unheard(name):
    """Same bytes with signals, held-out passes and looks as without; every number in its range."""
    plain = iterate(make_trainer(make_recipe(name), name), 3)
    trainer = watched(name)
    line = signals_after(trainer, 1) | {PREFIX + k: v for k, v in look(trainer).items()}
    signals_after(trainer, 2)
    for (key, one), other in zip(
        weights(plain.recipe).items(), weights(trainer.recipe).values(), strict=True
    ):
        assert torch.equal(one, other), f"{key} is another with signals"
    moments = plain.engine.optimizer_state(), trainer.engine.optimizer_state()
    assert all(torch.equal(moments[0][key], moments[1][key]) for key in moments[0])
    heard = {key for key in line if key in OFTEN}
    assert heard == (set() if name in WITHOUT_DISCRIMINATOR else OFTEN)
    assert ("unseen/auc" in line) == bool(heard)
    for key, value in line.items():
        low, high = SIGNALS[key][1:3] if key in SIGNALS else (None, None)
        assert value == value and (low is None or value >= low) and (high is None or value <= high)


@pytest.mark.parametrize("name", ["gan", "r3gan", "cyclegan", "lapgan", "biggan"])
def test_a_line_is_the_same_after_a_resume(name):
    """What was added up before a checkpoint counts after it."""
    whole, cut = watched(name), watched(name)
    line = signals_after(whole, 6)
    iterate(cut, 3)
    state = cut.observer.state_dict()
    cut.observer = Observer(cut.recipe, cut.engine.mean)
    cut.observer.load_state_dict(state)
    assert signals_after(cut, 3) == line


def test_sums_of_another_recipe_are_left_out():
    trainer = watched("gan")
    odd = {"scores": {"D.gone": [1.0] * 9, "D.discriminator": [1.0]}, "norms": {"G.gone": [1.0, 1]}}
    trainer.observer.load_state_dict(odd)
    assert not trainer.observer.scores and not trainer.observer.norms
    assert f"{PREFIX}auc" in signals_after(trainer, 1)


def test_a_skipped_step_is_not_heard():
    trainer = watched("gan")
    loss = trainer.recipe.phases[0].loss
    bad = {"adv": torch.tensor(float("nan"), requires_grad=True)}
    named = lambda batch, at: loss(batch, at) and bad  # noqa: E731
    named.__name__ = "discriminator"
    object.__setattr__(trainer.recipe.phases[0], "loss", named)
    iterate(trainer, 1)
    assert f"{PREFIX}auc" not in trainer.observer.line()


READINGS = {
    # reading: (real, fake, score_real, accuracy_real, accuracy_fake)
    "probability": ([2.0, -1.0], [-2.0, -3.0], 0.574869, 0.5, 1.0),
    "sign": ([2.0, -1.0], [-2.0, 3.0], 0.5, 0.5, 0.5),
    "half": ([0.6, 0.4], [0.1, 0.2], 0.5, 0.5, 1.0),
    "relative": ([10.0, 12.0], [8.0, 9.0], 1.0, 1.0, 1.0),
}


@pytest.mark.parametrize("reading", READINGS)
def test_outputs_are_opinions_as_their_loss_means_them(reading):
    real, fake, score, right_real, right_fake = READINGS[reading]
    found = statistics(Scored(torch.tensor(real), torch.tensor(fake), reading)).tolist()
    assert [found[0], found[2], found[3]] == pytest.approx([score, right_real, right_fake])


def test_auc_is_the_share_of_pairs_in_order():
    real, fake = torch.tensor([3.0, 1.0]), torch.tensor([2.0, 1.0, 0.0])
    pairs = [(r > f) + (r == f) / 2 for r in real.tolist() for f in fake.tolist()]
    assert float(auc(real, fake)) == pytest.approx(sum(pairs) / 6)
    many = torch.linspace(0, 1, 10_000)
    assert float(auc(many + 0.5, many)) == pytest.approx(0.875, abs=0.01)
