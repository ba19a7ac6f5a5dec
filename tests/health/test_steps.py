"""A step that is not finite is skipped, undone, counted, reported, and in the end stops the run."""

import pytest
import torch

from largegan.errors import HealthStop
from tests.recipes.common import iterate, keep_gradients, make_recipe, make_trainer, weights


def poison(trainer, phase_index: int, steps: set[int]) -> None:
    """Makes one phase's loss NaN at given steps, after a forward through NaN images."""
    phase = trainer.recipe.phases[phase_index]
    loss = phase.loss

    def poisoned(batch, at):
        if at.step not in steps:
            return loss(batch, at)
        terms = loss(batch | {"image": batch["image"] * float("nan")}, at)
        return {name: term * float("nan") for name, term in terms.items()}

    poisoned.__name__ = loss.__name__
    object.__setattr__(phase, "loss", poisoned)


def add_infinite_term(trainer, phase_index: int, step: int) -> None:
    """Nothing in the gradients says that this step is bad."""
    phase = trainer.recipe.phases[phase_index]
    loss = phase.loss

    def with_odd(batch, at):
        extra = {"odd": torch.tensor(float("inf"))} if at.step == step else {}
        return loss(batch, at) | extra

    with_odd.__name__ = loss.__name__
    object.__setattr__(phase, "loss", with_odd)


def test_a_bad_step_leaves_no_trace_but_a_count():
    """Not in weights, optimizer state, batch-norm statistics or spectral-norm vectors."""
    trainer = iterate(make_trainer(make_recipe("sngan"), "sngan", max_bad_steps=10), 2)
    poison(trainer, 0, {2})
    before, moments = weights(trainer.recipe), trainer.engine.optimizer_state()
    moments = {k: v.clone() for k, v in moments.items() if k.startswith("D/")}
    phase = trainer.recipe.phases[0]
    trainer.run_phase(phase, trainer.next_micro_batches(), (0, 0))
    assert trainer.bad_steps.total == 1
    for key, value in weights(trainer.recipe).items():
        assert torch.equal(value, before[key]), key
    for key, value in trainer.engine.optimizer_state().items():
        assert key not in moments or torch.equal(value, moments[key]), key
    event = trainer.events[0]
    assert event["phase"] == "D.discriminator" and event["player"] == "D"
    assert "loss term 'adv' = nan" in event["culprit"]
    trainer.iteration()
    assert all(
        v.isfinite().all() for v in weights(trainer.recipe).values() if v.is_floating_point()
    )


def test_bad_steps_do_not_enter_the_logged_means():
    trainer = make_trainer(make_recipe("sngan"), "sngan")
    poison(trainer, 0, {1})
    iterate(trainer, 3)
    means = trainer.tally.means()
    assert all(value == value for value in means.values()), means


def test_the_run_stops_after_n_in_a_row():
    trainer = make_trainer(make_recipe("sngan"), "sngan", max_bad_steps=3)
    poison(trainer, 1, set(range(100)))
    with pytest.raises(HealthStop, match=r"phase G\.generator of player G .* 3 times") as stop:
        iterate(trainer, 10)
    assert stop.value.exit_code == 5
    # D was fine in between: a phase's own failures count, not those of its neighbors.
    assert trainer.bad_steps.in_a_row == {"D.discriminator": 0, "G.generator": 3}


def test_a_good_step_resets_the_row():
    trainer = make_trainer(make_recipe("sngan"), "sngan", max_bad_steps=3)
    poison(trainer, 1, {0, 1, 3, 4, 6})
    iterate(trainer, 8)
    assert trainer.bad_steps.total == 5


def test_the_first_bad_tensor_is_named():
    trainer = make_trainer(make_recipe("dcgan"), "dcgan")
    victim = dict(trainer.recipe.D.named_parameters())
    name = next(iter(victim))
    victim[name].register_hook(lambda g: g * float("inf"))
    trainer.run_phase(trainer.recipe.phases[0], trainer.next_micro_batches(), (0, 0))
    assert trainer.events[0]["culprit"] == f"gradient of D.{name}"


def test_a_bad_weight_is_named():
    trainer = make_trainer(make_recipe("dcgan"), "dcgan")
    name, weight = next(iter(trainer.recipe.D.named_parameters()))
    with torch.no_grad():
        weight[0] = float("nan")
    trainer.run_phase(trainer.recipe.phases[0], trainer.next_micro_batches(), (0, 0))
    assert "nan" in trainer.events[0]["culprit"] or name in trainer.events[0]["culprit"]


def test_clipping():
    trainer = make_trainer(make_recipe("gan"), "gan")
    trainer.max_grad_norm = 1e-3
    keep_gradients(trainer.engine)
    phase = trainer.recipe.phases[0]
    report = trainer.run_phase(phase, trainer.next_micro_batches(), (0, 0))
    grads = torch.cat([p.grad.flatten() for p in trainer.recipe.D.parameters()])
    assert report.grad_norm > 1e-3
    assert grads.norm().item() == pytest.approx(1e-3, rel=1e-3)
