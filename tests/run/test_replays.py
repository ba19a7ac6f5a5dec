"""`train.cuda_graphs`: what is recorded, what is not and why, and that steps stay the same.

There is no GPU here: recordings are stood in for by running the step again into the same memory.
`tests/recipes/test_on_gpu.py` takes real ones.
"""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from largegan.errors import ConfigError
from largegan.recipe import Progress
from largegan.run import replays
from largegan.run.recording import RecordedProgress
from largegan.run.replays import PROOFS, WARM, Replays, make_replays
from tests.parallel.forking import run_forked
from tests.recipes.common import NAMES, iterate, keep_gradients, make_recipe, make_trainer, weights
from tests.run.again import ENOUGH, Again


def with_replays(trainer, record=None):
    lines = []
    record = record or Again(trainer.recipe)
    trainer.replays = Replays(trainer.recipe, record, lines.append)
    return trainer, lines


def trained(name, *, replayed, iterations, **settings):
    trainer, lines = make_trainer(make_recipe(name), name, **settings), []
    if replayed:
        trainer, lines = with_replays(trainer)
    every = max(phase.every for phase in trainer.recipe.phases)
    for phase in trainer.recipe.phases:
        object.__setattr__(phase, "every", min(phase.every, 2))
    return iterate(trainer, iterations * (2 if every > 1 else 1)), lines


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_takes_the_same_steps(name):
    plain, _ = trained(name, replayed=False, iterations=ENOUGH)
    again, lines = trained(name, replayed=True, iterations=ENOUGH)
    assert len(lines) == len({phase.name for phase in again.recipe.phases}), lines
    for key, value in weights(plain.recipe).items():
        assert torch.equal(value, weights(again.recipe)[key]), (key, lines)


def test_micro_batches_have_recordings_of_their_own():
    plain, _ = trained("dcgan", replayed=False, iterations=ENOUGH, micro_batch_size=2)
    again, lines = trained("dcgan", replayed=True, iterations=ENOUGH, micro_batch_size=2)
    assert len(again.replays.parts) > 2 and again.replays.record.repeated > 0
    for key, value in weights(plain.recipe).items():
        assert torch.equal(value, weights(again.recipe)[key]), (key, lines)


def test_a_micro_batch_waits_for_the_one_before_it(monkeypatch):
    """The first is watched twice; what the second adds to has to lie still first."""
    plain, _ = trained("dcgan", replayed=False, iterations=ENOUGH + 1, micro_batch_size=4)
    asked = []

    @contextmanager
    def waits_once():
        asked.append(len(asked))
        yield ["constants.py, line 1"] if len(asked) == 1 else []

    monkeypatch.setattr(replays, "synchronizations", waits_once)
    again, lines = trained("dcgan", replayed=True, iterations=ENOUGH + 1, micro_batch_size=4)
    assert [part.reason for part in again.replays.parts.values()] == [None] * 4, lines
    for key, value in weights(plain.recipe).items():
        assert torch.equal(value, weights(again.recipe)[key]), key


def test_a_micro_batch_after_one_that_does_not_fit_is_not_replayed():
    """The gradients that its recording would add to are not where they were."""
    found = []
    for replayed in (False, True):
        trainer, _ = trained("dcgan", replayed=replayed, iterations=ENOUGH, micro_batch_size=4)
        first, second = trainer.next_micro_batches()
        short = [{name: value[:2] for name, value in first.items()}, second]
        keep_gradients(trainer.engine)
        trainer.run_phase(trainer.recipe.phases[0], short, (0, 0))
        found.append([p.grad.clone() for p in trainer.recipe.D.parameters()])
    for plain, again in zip(*found, strict=True):
        assert torch.equal(plain, again)


def spoiled(name, change):
    """A recipe whose generator's loss does something besides; the lines it gets."""
    recipe = make_recipe(name)
    (phase,) = (phase for phase in recipe.phases if phase.player == "G")
    loss = phase.loss

    def generator(batch, at):
        terms = loss(batch, at)
        terms["more"] = change(recipe, at, terms)
        return terms

    object.__setattr__(phase, "loss", generator)
    trainer, lines = with_replays(make_trainer(recipe, name))
    iterate(trainer, ENOUGH)
    return [line for line in lines if line.startswith("G.")]


def keeps_a_tensor(recipe, at, terms):
    recipe.kept = torch.zeros(())
    return recipe.kept


def counts_by_itself(recipe, at, terms):
    recipe.counted = getattr(recipe, "counted", 0) + 1
    return torch.tensor(float(recipe.counted))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda recipe, at, terms: torch.tensor(at.nimg * 1e-9), "how far training has come"),
        (lambda recipe, at, terms: torch.rand(()), "draws random numbers on the processor"),
        (keeps_a_tensor, ".kept is another tensor"),
        (counts_by_itself, "recording gives another counted (numbers on modules)"),
    ],
)
def test_what_a_recording_would_not_repeat(change, why, monkeypatch):
    if "draws" in why:  # on a CPU the recipe itself draws there, too
        monkeypatch.setattr(replays, "processor_rng", lambda device: torch.get_rng_state())
    [line] = spoiled("gan", change)
    assert line.startswith("G.generator is not recorded as a CUDA graph: ")
    assert why in line


def test_other_shapes_and_other_words_are_not_replayed():
    trainer, _ = with_replays(make_trainer(make_recipe("gan"), "gan"))
    iterate(trainer, ENOUGH)
    before = trainer.replays.record.repeated
    micro = trainer.next_micro_batches()
    trainer.run_phase(trainer.recipe.phases[0], micro, (0, 0))
    assert trainer.replays.record.repeated == before + 1
    trainer.run_phase(
        trainer.recipe.phases[0], [{n: v[:4] for n, v in b.items()} for b in micro], (0, 0)
    )
    assert trainer.replays.record.repeated == before + 1


def test_a_step_that_is_not_finite_proves_nothing():
    """It is skipped as ever, and what comes after it is compared again."""
    trainer, lines = with_replays(make_trainer(make_recipe("gan"), "gan", max_bad_steps=9))
    iterate(trainer, WARM + 1)
    good = trainer.to_device
    trainer.to_device = lambda b, device: {n: v * float("nan") for n, v in good(b, device).items()}
    iterate(trainer, 2)
    assert trainer.bad_steps.total > 0 and not any(line.startswith("D.") for line in lines)
    trainer.to_device = good
    iterate(trainer, PROOFS + 1)
    assert len(lines) == 2 and all("replayed as a CUDA graph" in line for line in lines)


def test_progress_that_is_asked_is_still_progress():
    at = RecordedProgress(Progress(3, 24), [], torch.device("cpu"))
    assert at.scheduled(lambda now: now.nimg / 2).item() == 12 and not at.asked
    assert (at.step, at.nimg) == (3, 24)
    assert at.asked


def test_scheduled_numbers_follow_training():
    """They are no reason to leave a phase as it is, and each replay has its own."""
    seen = []

    def noise(recipe, at, terms):
        seen.append(at.scheduled(lambda now: now.nimg * 1e-9))
        return torch.as_tensor(seen[-1]) * 1

    [line] = spoiled("gan", noise)
    assert line == "G.generator is replayed as a CUDA graph from now on"
    assert all(tensor is seen[-1] for tensor in seen[-3:]) and seen[-1] > 0


def test_where_nothing_can_be_recorded():
    trainer = make_trainer(make_recipe("gan"), "gan")
    with pytest.raises(ConfigError, match=r"train\.cuda_graphs needs a GPU"):
        make_replays(trainer.engine, print)
    trainer.engine.device = torch.device("cuda")
    trainer.engine.shares["D"].reduction = SimpleNamespace(overlap=True)
    with pytest.raises(ConfigError, match=r"of player D .engine replicated.*overlap false"):
        make_replays(trainer.engine, print)


def test_two_ranks_without_overlap():
    """Reductions come after what is recorded; SN, pools and path lengths are summed over ranks."""
    run_forked("tests.run.again", ["sngan", "cyclegan", "stylegan2"], world=2)
