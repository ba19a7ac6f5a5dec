"""What happens before training: the run directory, its data, networks, engine, and what a
checkpoint or another run's weights bring. All ranks do this together; what is wrong is found here.
"""

from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from jsonargparse import Namespace
from torch import Tensor

from largegan import checkpoint, recipes
from largegan.config.changes import STATE, after_rollback
from largegan.config.checks import actions_of
from largegan.config.parse import recipe_options
from largegan.data.domains import Domains, open_stream
from largegan.data.micros import RankShare
from largegan.data.stream import Source
from largegan.data.transforms import to_device
from largegan.errors import ConfigError, shown
from largegan.parallel.alike import check_shared, check_versions
from largegan.parallel.choose import choose
from largegan.parallel.engine import Engine
from largegan.parallel.launch import World, agree
from largegan.parallel.moments import continues
from largegan.recipe import DataSpec, Recipe
from largegan.run import branches, directory, rollback, snapshots
from largegan.run.arithmetic import check_kernels, choose_arithmetic, first_use
from largegan.run.compiling import CompiledNetworks, check_compiler
from largegan.run.data import (
    check_latents,
    check_vectors,
    framing_of,
    give_conditions,
    open_source,
    parts_of,
    spec_of,
)
from largegan.run.finetune import starting_weights
from largegan.run.lock import NAME, RunLock
from largegan.run.log import restored_tally
from largegan.run.prepared import Start
from largegan.run.recipe import NOT_BUILT, make_recipe, recipe_of
from largegan.run.replays import make_replays
from largegan.trainer import Trainer, micro_batch_size


def build_run(config: Namespace, world: World, lock: RunLock) -> Start:
    """Everything that `config` asks for, once. Raises a `UserError` on all ranks alike."""
    check_versions(world)
    check_kernels(world.device)
    say(world.rank, *first_use(world.device))
    train = config.train
    choose_arithmetic(world.device, train.precision, deterministic=train.deterministic)
    folder, start, turned = claim(config, world, lock)
    name = config.recipe.name
    source = open_source(config.data, recipe_of(config), world=world.size, rank=world.rank)
    source, held_out = parts_of(source, config.data.held_out)
    spec, framing = spec_of(config.data, source), framing_of(config.data)
    check_latents(name, recipe_of(config), spec)
    check_vectors(name, recipe_of(config), spec)
    torch.manual_seed(config.train.seed)
    recipe = make_recipe(config, spec, world)
    give_conditions(recipe, source)
    check_changes(config, spec, recipe)
    parallel = config.parallel
    shares = choose(
        parallel.engine,
        recipe,
        world,
        deepspeed=parallel.deepspeed,
        overlap=parallel.overlap,
        precision=config.train.precision,
    )
    if start is None:
        fine_tune(config, recipe, spec, world)
    if config.train.snapshot_every_nimg is not None:
        snapshots.follow(recipe, config.train.snapshot_widths)
    engine = Engine(world, shares)
    engine.setup(recipe)
    saved = load(start, config, engine, turned)
    trainer = build_trainer(config, recipe, engine, source, saved)
    if start is not None:
        say(world.rank, *agree(world, lambda: branches.follow(folder, Path(start))))
    health = (saved or {}).get("health", {})
    return Start(folder, source, framing, spec, trainer, held_out, health)


def check_changes(config: Namespace, spec: DataSpec, recipe: Recipe) -> None:
    """Refuses a rollback to other networks than a checkpoint has, now and not when it is due.

    Raises ConfigError.
    """
    if "rollback" not in actions_of(config.health).values():
        return
    wanted, new = config.health.rollback.change, after_rollback(config)
    lacking = [n for n in STATE if n in wanted and STATE[n][0] not in recipe.state_dict()]
    if lacking:
        raise ConfigError(
            f"health.rollback.change names {lacking[0]}, which this recipe does not adapt; leave "
            "it out"
        )
    options = recipe_options(config)
    options |= {n.partition(".")[2]: v for n, v in new.items() if n.startswith("recipe.")}
    try:
        with torch.device("meta"):
            twin = recipes.build(config.recipe.name, spec, options)
    except NOT_BUILT:
        twin = None
    if twin is None or shapes(twin) != shapes(recipe):
        raise ConfigError(
            "health.rollback.change makes other networks, which no checkpoint of this run fits; "
            "change learning rates, weights of losses or the seed"
        )


def shapes(recipe: Recipe) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in recipe.state_dict().items()}


def claim(
    config: Namespace, world: World, lock: RunLock
) -> tuple[Path, str | None, rollback.Rollback | None]:
    """The run directory, which is now ours, the checkpoint to start from, if any, and the rollback
    whose settings `config` has now, if any."""

    def decide() -> tuple:
        folder, start, notes = directory.decide_start(config, lock)
        turned = rollback.in_force(Path(folder), Path(start)) if start else None
        return folder, start, notes, lock.token, turned

    folder, start, notes, token, turned = agree(world, decide)
    check_shared(world, Path(folder), NAME, token)
    say(world.rank, *notes)
    if turned is not None:
        say(world.rank, *rollback.apply(config, turned))
    return Path(folder), start, turned


def fine_tune(config: Namespace, recipe: Recipe, spec: DataSpec, world: World) -> None:
    """A new run may begin with another run's weights, before they are distributed."""
    if config.run.init_from is None:
        return
    state, notes = starting_weights(
        Path(config.run.init_from),
        recipe,
        spec,
        name=config.recipe.name,
        options=recipe_options(config),
    )
    recipe.load_state_dict(state, strict=False)  # not strict: one name per tensor
    say(world.rank, *notes)


def load(
    start: str | None, config: Namespace, engine: Engine, turned: rollback.Rollback | None
) -> dict | None:
    """Restores networks and optimizers; returns the rest of the checkpoint, or None."""
    if start is None:
        return None
    path = Path(start)
    content = checkpoint.load(path)
    checkpoint.check_resumable(path, content.state)
    if content.state["config"]["recipe"]["name"] != config.recipe.name:
        raise ConfigError(
            f"checkpoint {path} is of recipe {content.state['config']['recipe']['name']}, the "
            f"configuration asks for {config.recipe.name}; start a new --run.dir"
        )
    model = snapshots.carried_on(path, content, config.train)
    checkpoint.check_model(path, model, engine.layout)
    wanted = {
        player: {name: engine.layout[name] for name in names}
        for player, names in engine.names.items()
    }
    checkpoint.check_optimizer(path, content.optimizer, wanted)
    check_optimizers(path, content.optimizer, engine)
    rollback.change_state(model, path, turned)
    engine.load_model_state(model)
    engine.load_optimizer_state(content.optimizer)
    say(engine.rank, f"resuming from {path}")
    changes = directory.differences(content.state["config"], config)
    say(engine.rank, *(f"  changed since then: {change}" for change in changes))
    return content.state


def check_optimizers(path: Path, saved: dict[str, Tensor], engine: Engine) -> None:
    """Refuses the state of another optimizer than a player has now. Raises ConfigError."""
    for name, player in engine.recipe.players.items():
        fields = {key.rpartition("/")[2] for key in saved if key.startswith(f"{name}/")}
        if fields and not continues(player.make_optimizer, fields):
            raise ConfigError(
                f"checkpoint {path} holds {', '.join(map(shown, sorted(fields)))} of another "
                f"optimizer than player {name} has now; use the configuration of that run (its "
                "config.yaml), or begin a new run with --run.init_from"
            )


def build_trainer(
    config: Namespace,
    recipe: Recipe,
    engine: Engine,
    source: "Source | Domains",
    saved: dict | None,
) -> Trainer:
    """The loop, where `saved` left it."""
    settings, framing = config.train, framing_of(config.data)
    size = size_of_micro_batches(config, engine, saved)
    stream = open_stream(
        source,
        RankShare(settings.batch_size, size, engine.rank, engine.world),
        framing,
        seed=settings.seed,
        workers=config.data.workers,
        mirror=config.data.mirror,
        pin_memory=engine.device.type == "cuda",  # then copies to it need not be waited for
        may_change=config.data.may_change,
    )
    compiled = None
    if settings.compile:
        check_compiler(engine.device)
        compiled = CompiledNetworks(recipe)
        say(engine.rank, str(compiled))
    replays = None
    if settings.cuda_graphs:
        replays = make_replays(engine, partial(say, engine.rank))
    trainer = Trainer(
        recipe,
        engine,
        stream,
        to_device=partial(to_device, framing=framing),
        batch_size=settings.batch_size,
        micro_batch_size=size,
        seed=settings.seed,
        precision=settings.precision,
        max_grad_norm=settings.max_grad_norm,
        max_bad_steps=settings.max_bad_steps,
        first_order=compiled or nullcontext,
        replays=replays,
    )
    if saved:
        trainer.load_state_dict(saved)
        trainer.tally = restored_tally(saved.get("tally"))
        say(engine.rank, *stream.notes)
    return trainer


def size_of_micro_batches(config: Namespace, engine: Engine, saved: dict | None) -> int:
    """As configured; else as before, when these ranks can share it; else one per rank."""
    settings, world = config.train, engine.world
    wanted = settings.micro_batch_size
    if wanted is None and saved:
        before = saved["micro_batch_size"]
        if settings.batch_size % (before * world) == 0:
            wanted = before
        else:
            say(
                engine.rank,
                f"micro-batches of {before} images cannot be shared by {world} processes: the "
                "order of images stays, the noise drawn for them changes",
            )
    return micro_batch_size(settings.batch_size, wanted, world)


def say(rank: int, *lines: str) -> None:
    if rank == 0:
        for line in lines:
            print(line, flush=True)
