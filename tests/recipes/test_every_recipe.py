"""The suite that every recipe gets by being in the table (one process; see also two_ranks)."""

import filecmp
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch

from largegan import checkpoint
from largegan.ema import Ema
from largegan.recipe import Phase, Player
from tests.recipes.common import (
    NAMES,
    NUMBERS,
    draw,
    iterate,
    make_recipe,
    make_trainer,
    spec_of,
    weights,
)

each_recipe = pytest.mark.parametrize("name", NAMES)


def save(trainer, folder) -> None:
    content = checkpoint.Checkpoint(
        trainer.engine.model_state(), trainer.engine.optimizer_state(), trainer.state_dict()
    )
    return checkpoint.save(folder, trainer.at.nimg, content)


def restore(trainer, path) -> None:
    content = checkpoint.load(path)
    trainer.engine.load_model_state(content.model)
    trainer.engine.load_optimizer_state(content.optimizer)
    trainer.load_state_dict(content.state)


@each_recipe
@pytest.mark.parametrize("cut", [1, 4])
def test_resume_is_bit_exact(name, cut, tmp_path):
    """Train 2N == train N, save, load into a differently seeded instance, train N: same bytes."""
    whole = make_trainer(make_recipe(name), name)
    iterate(whole, cut)
    path = save(whole, tmp_path / "at_cut")
    iterate(whole, 6 - cut)
    resumed = make_trainer(make_recipe(name, seed=99), name)
    assert not all(
        torch.equal(a, b)
        for a, b in zip(
            weights(resumed.recipe).values(), weights(whole.recipe).values(), strict=True
        )
    ), "the second instance must start elsewhere, or this test proves nothing"
    restore(resumed, path)
    iterate(resumed, 6 - cut)
    a, b = save(whole, tmp_path / "whole"), save(resumed, tmp_path / "resumed")
    for file in (checkpoint.MODEL, checkpoint.OPTIMIZER, checkpoint.STATE):
        assert filecmp.cmp(a / file, b / file, shallow=False), f"{file} differs"
    # What is not registered is in neither file, but it shows in what the recipe makes.
    pictures = [draw(t.recipe, 4, torch.Generator().manual_seed(0)) for t in (whole, resumed)]
    assert torch.equal(*pictures)


@each_recipe
def test_restored_state_matters(name, tmp_path):
    """Every restored tensor steers what comes next, or is at least still there afterwards.

    Guards the test above: state that is saved but never read back would pass it if it did not
    change within the window.
    """
    trainer = iterate(make_trainer(make_recipe(name), name), 2)
    path = save(trainer, tmp_path)
    content = checkpoint.load(path)
    other = make_trainer(make_recipe(name, seed=5), name)
    restore(other, path)
    for key, value in other.engine.model_state().items():
        assert torch.equal(value, content.model[key]), f"{key} was not restored"
    restored = other.engine.optimizer_state()
    assert set(restored) == set(content.optimizer)
    assert restored, "optimizers must have state by now"
    for key, value in restored.items():
        assert torch.equal(value, content.optimizer[key]), f"{key} was not restored"


@each_recipe
def test_a_phase_moves_only_its_player(name):
    trainer = make_trainer(make_recipe(name), name)
    recipe = trainer.recipe
    micro = trainer.next_micro_batches()
    for index, phase in enumerate(recipe.phases):
        before = {n: p.detach().clone() for n, p in recipe.named_parameters()}
        trainer.run_phase(phase, micro, (index, 0))
        mine = {id(p) for p in recipe.players[phase.player].parameters()}
        moved = {n for n, p in recipe.named_parameters() if not torch.equal(before[n], p)}
        assert moved, f"{phase.name} moved nothing"
        for n, p in recipe.named_parameters():
            if id(p) not in mine:
                assert n not in moved, f"{phase.name} moved {n}"
                assert not p.requires_grad, f"{n} was not frozen during {phase.name}"


def running_statistics(recipe) -> dict[str, torch.Tensor]:
    """Of batch norms in networks that make images."""
    named = recipe.named_buffers()
    return {n: b for n, b in named if ".running_" in n and not n.startswith(("D", "G_ema"))}


@pytest.mark.parametrize("name", [n for n in NAMES if running_statistics(make_recipe(n))])
def test_running_statistics_follow_their_own_steps(name):
    """A discriminator's step draws images too: they do not count."""
    trainer = make_trainer(make_recipe(name), name)
    recipe, micro = trainer.recipe, trainer.next_micro_batches()
    followed = set()
    for index, phase in enumerate(recipe.phases):
        before = {n: b.clone() for n, b in running_statistics(recipe).items()}
        trainer.run_phase(phase, micro, (index, 0))
        after = running_statistics(recipe)
        moved = {n for n, b in before.items() if not torch.equal(b, after[n])}
        assert not (phase.player.startswith("D") and moved), f"{phase.name} moved {sorted(moved)}"
        followed |= moved
    assert followed


@each_recipe
def test_every_parameter_has_one_owner(name):
    """A player, an EMA, or a net that is declared frozen by never requiring gradients."""
    recipe = make_recipe(name)
    owned = [id(p) for player in recipe.players.values() for p in player.parameters()]
    assert len(owned) == len(set(owned)), "two players share a parameter"
    averages = {id(p) for m in recipe.modules() if isinstance(m, Ema) for p in m.parameters()}
    frozen = {id(p) for p in recipe.parameters() if not p.requires_grad}
    assert not averages & set(owned)
    for n, p in recipe.named_parameters():
        assert id(p) in set(owned) | averages | frozen, f"{n} belongs to nobody"


@each_recipe
def test_every_buffer_changes(name):
    """A buffer that never moves would make the resume test blind to it.

    Unless it is drawn at the start (StyleGAN2's constant noise): there the other seed shows.
    """
    trainer = make_trainer(make_recipe(name), name)
    before = weights(trainer.recipe)
    iterate(trainer, 5)
    after = weights(trainer.recipe)
    # In place: a step that is skipped is undone through references to these tensors.
    assert [id(b) for b in trainer.recipe.buffers()] == [id(b) for b in trainer.guard.live]
    others = weights(make_recipe(name, seed=99))
    buffers = [n for n, _ in trainer.recipe.named_buffers() if n in after]
    still = [n for n in buffers if torch.equal(before[n], after[n])]
    still = [n for n in still if torch.equal(others[n], after[n])]
    # The left singular vector of a matrix with one row is 1 or -1, and stays.
    assert not [n for n in still if not (n.endswith(".u") and after[n].numel() == 1)]


@each_recipe
def test_average_follows_and_differs(name):
    trainer = iterate(make_trainer(make_recipe(name), name), 3)
    averages = [m for m in trainer.recipe.modules() if isinstance(m, Ema)]
    assert averages, "the recipe keeps no average"
    for average in averages:
        assert not average.net.training
        assert all(p.isfinite().all() for p in average.parameters())


@pytest.fixture
def no_noise(monkeypatch):
    """Random numbers that do not depend on how a batch is split."""

    def constant(shape, like=None, value=0.3, **_):
        return torch.full(shape, value, **({"dtype": like.dtype} if like is not None else {}))

    def by_shape(*shape, generator=None, device=None, dtype=None):
        shape = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        return constant(tuple(shape))

    monkeypatch.setattr(torch, "randn", by_shape)
    monkeypatch.setattr(torch, "rand", by_shape)
    for like in ("randn_like", "rand_like"):
        monkeypatch.setattr(torch, like, lambda x: constant(tuple(x.shape), x))
    monkeypatch.setattr(torch, "randint", lambda *a, **k: torch.ones(a[-1], dtype=torch.long))
    monkeypatch.setattr(torch, "randperm", lambda n, **k: torch.arange(n))


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@each_recipe
def test_accumulation_equals_one_big_batch(name, no_noise, float64):
    """1 x 8 == 4 x 2 images per step, on options without batch statistics.

    In float64, where only the order of sums is left to differ: in float32 a deep network without
    norms turns that into the fifth digit.
    """
    results = []
    for micro in (8, 2):
        trainer = make_trainer(make_recipe(name, exact=True), name, micro_batch_size=micro)
        trainer.to_device = doubled(trainer.to_device)
        sgd(trainer)
        iterate(trainer, 1)
        results.append(weights(trainer.recipe))
    for key, whole in results[0].items():
        torch.testing.assert_close(results[1][key], whole, rtol=1e-6, atol=1e-9, msg=key)


def doubled(to_device):
    def move(*args, **options):
        batch = to_device(*args, **options)
        return {k: v.double() if v.is_floating_point() else v for k, v in batch.items()}

    return move


def sgd(trainer, lr: float = 0.01) -> None:
    """Plain SGD: steps are proportional to gradients, so that they can be compared."""
    for name, params in trainer.engine.params.items():
        trainer.recipe.players[name].schedule = lambda at: {}
        trainer.engine.shares[name].optimizer = torch.optim.SGD(params, lr=lr)


@each_recipe
def test_lazy_phase_weighs_its_interval(name):
    """`every=4` moves SGD weights four times as far."""
    moves = {}
    for every in (1, 4):
        trainer = make_trainer(make_recipe(name), name)
        sgd(trainer)
        phase = trainer.recipe.phases[0]
        lazy = Phase(phase.player, phase.loss, every=every, second_order=phase.second_order)
        params = trainer.engine.params[phase.player]
        before = [p.detach().clone() for p in params]
        trainer.run_phase(lazy, trainer.next_micro_batches(), (0, 0))
        moves[every] = torch.cat([(p - b).flatten() for p, b in zip(params, before, strict=True)])
    assert moves[1].norm() > 0
    # Weights that are stored large (StyleGAN's mapping: hundreds) round away small moves.
    rounding = 1e-6 + 1e-6 * torch.cat([b.abs().flatten() for b in before])
    assert ((moves[4] - 4 * moves[1]).abs() <= 1e-3 * moves[4].abs() + rounding).all()


@each_recipe
def test_second_order_is_truthful(name, monkeypatch):
    """A phase says `second_order` if and only if it differentiates through a gradient."""
    trainer = make_trainer(make_recipe(name), name)
    seen = []
    grad = torch.autograd.grad

    def spy(*args, create_graph=False, **kwargs):
        seen.append(create_graph)
        return grad(*args, create_graph=create_graph, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", spy)
    micro = trainer.next_micro_batches()
    for index, phase in enumerate(trainer.recipe.phases):
        seen.clear()
        trainer.run_phase(phase, micro, (index, 0))
        assert any(seen) == phase.second_order, phase.name


@each_recipe
def test_averages_in_losses_are_declared(name, monkeypatch):
    """A phase says `averages` if and only if its loss reads an averaged network."""
    trainer = make_trainer(make_recipe(name), name)
    read = []
    look = Ema.__getattr__

    def spy(self, attribute):
        if attribute == "net":
            read.append(attribute)
        return look(self, attribute)

    monkeypatch.setattr(Ema, "__getattr__", spy)
    micro = trainer.next_micro_batches()
    for index, phase in enumerate(trainer.recipe.phases):
        read.clear()
        trainer.run_phase(phase, micro, (index, 0))
        assert bool(read) == phase.averages, phase.name


@each_recipe
def test_whose_weights_a_loss_reads_is_declared(name):
    """Losses work without the others', as between phases where weights are cut over ranks; and
    not without one of those that the phase names.
    """
    trainer = make_trainer(make_recipe(name), name)
    recipe, micro = trainer.recipe, trainer.next_micro_batches()
    for index, phase in enumerate(recipe.phases):
        for other in recipe.players.keys() - {phase.player}:
            read = phase.others is None or other in phase.others
            with without_weights(recipe.players[other]):
                refused = pytest.raises((RuntimeError, IndexError))
                with refused if read else nullcontext():
                    phase.loss(dict(micro[0]), trainer.at)
        trainer.run_phase(phase, micro, (index, 0))


@contextmanager
def without_weights(player: Player) -> Iterator[None]:
    kept = {p: p.data for p in player.parameters()}
    for p, data in kept.items():
        p.data = data.new_empty(0)
    yield
    for p, data in kept.items():
        p.data = data


@each_recipe
def test_noise_depends_on_progress_alone(name):
    """Whatever happened to the global generator before a step, the step is the same."""
    results = []
    for disturbance in (1, 2):
        trainer = make_trainer(make_recipe(name), name)
        torch.manual_seed(disturbance)
        iterate(trainer, 2)
        results.append(weights(trainer.recipe))
    for key, value in results[0].items():
        assert torch.equal(value, results[1][key]), key


@each_recipe
def test_samples(name):
    """Shape, range, and the same picture for the same generator."""
    recipe, spec = make_recipe(name), spec_of(name)
    first = draw(recipe, 5, torch.Generator().manual_seed(1))
    again = draw(recipe, 5, torch.Generator().manual_seed(1))
    assert torch.equal(first, again)
    if spec != NUMBERS:
        assert first.shape == (5, spec.channels, spec.height, spec.width)
        assert first.abs().max() <= 1
    assert not first.requires_grad


@each_recipe
def test_recipe_learns_a_toy(name):
    """Each recipe brings the mean of its samples closer to that of the data.

    In long steps, which a mean allows: with a third of the length it takes five times as long.
    """
    trainer = make_trainer(make_recipe(name), name)
    wanted = {"image", "x", "image_b"}
    target = torch.cat(
        [x for b in trainer.next_micro_batches() for k, x in b.items() if k in wanted]
    ).mean()

    def distance() -> float:
        samples = draw(trainer.recipe, 64, torch.Generator().manual_seed(0))
        return float((samples.mean() - target).abs())

    before = distance()
    for player in trainer.recipe.players.values():
        player.schedule = lambda at: {}
    for optimizer in trainer.engine.optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = 2e-2
    for _ in range(80):
        iterate(trainer, 5)
        if distance() < before / 3:
            return
    raise AssertionError(f"after 400 iterations {distance():.3f} of {before:.3f} is left")
