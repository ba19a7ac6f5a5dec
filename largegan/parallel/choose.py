"""Which engine each player gets, from the configuration and from Accelerate's; what cannot be is
refused here, before any work."""

import os
from collections.abc import Mapping
from functools import partial
from importlib import metadata

from largegan.errors import ConfigError, EnvironmentFault
from largegan.parallel.launch import World
from largegan.parallel.replicated import Replicated
from largegan.parallel.share import MakeShare
from largegan.parallel.told import read_settings, told_by_accelerate
from largegan.recipe import Recipe

ENGINES = ("replicated", "deepspeed", "zero1", "zero2", "zero3", "fsdp2")
OLDEST_DEEPSPEED = (0, 19, 1)  # the first with coalesce_grad_reduction


def choose(
    engine: str | Mapping[str, str] | None,
    recipe: Recipe,
    world: World,
    *,
    deepspeed: str | None = None,
    overlap: bool = True,
    precision: str = "fp32",
    env: Mapping[str, str] = os.environ,
) -> dict[str, MakeShare]:
    """How to make the share of each player. Raises `ConfigError` or `EnvironmentFault`.

    Args:
        engine: one of `ENGINES` for all players, or by player; None: as Accelerate was told,
            else replicated.
        deepspeed: a DeepSpeed JSON file, for players of engine deepspeed or zeroN.
        overlap: let gradients of replicated players leave during backward.
        precision: the trainer's, to be held against Accelerate's.
        env: where `accelerate launch` leaves what its own configuration says.
    """
    by_player, settings = chosen_engines(
        engine, recipe, deepspeed=deepspeed, precision=precision, env=env
    )
    return {
        player: make_share(name, player, recipe, world, settings, overlap)
        for player, name in by_player.items()
    }


def chosen_engines(
    engine: str | Mapping[str, str] | None,
    recipe: Recipe,
    *,
    deepspeed: str | None,
    precision: str,
    env: Mapping[str, str],
) -> tuple[dict[str, str], dict]:
    """(the engine of each player, DeepSpeed's settings); the arguments are those of `choose`."""
    told, told_file = told_by_accelerate(env, precision)
    if engine is not None and told is not None and engine != told:
        raise ConfigError(
            f"accelerate's configuration asks for engine {told}, parallel.engine for {engine}; "
            "leave parallel.engine out, or launch without that accelerate configuration"
        )
    settings = read_settings(deepspeed or told_file)
    stage = settings.get("zero_optimization", {}).get("stage", 2)
    by_player = engine_by_player(engine or told or "replicated", recipe)
    return {
        player: f"zero{stage}" if name == "deepspeed" else name
        for player, name in by_player.items()
    }, settings


def engine_by_player(engine: str | Mapping[str, str], recipe: Recipe) -> dict[str, str]:
    """An engine for every player; those that a mapping leaves out are replicated."""
    if isinstance(engine, str):
        return dict.fromkeys(recipe.players, engine)
    for player in engine:
        if player not in recipe.players:
            raise ConfigError(
                f"parallel.engine names player {player!r}, but recipe {type(recipe).__name__} has "
                f"{', '.join(recipe.players)}"
            )
    return {player: engine.get(player, "replicated") for player in recipe.players}


def make_share(
    name: str, player: str, recipe: Recipe, world: World, settings: dict, overlap: bool
) -> MakeShare:
    """What makes a player's share under the engine `name`. Raises ConfigError, EnvironmentFault."""
    if name == "replicated":
        return partial(Replicated, overlap=overlap)
    if name not in ENGINES:
        raise ConfigError(f"there is no engine {name!r}; choose one of {', '.join(ENGINES)}")
    if world.size == 1:
        raise ConfigError(
            f"engine {name} shares player {player} out over processes, and there is only one; "
            "start several, or use parallel.engine replicated"
        )
    if name == "fsdp2":
        from largegan.parallel.fsdp2 import FSDP2

        return FSDP2
    stage = int(name.removeprefix("zero"))
    check_deepspeed()
    from largegan.parallel.zero import Zero

    return partial(Zero, stage=stage, settings=settings)


def check_deepspeed() -> None:
    """Raises EnvironmentFault where DeepSpeed is missing or too old."""
    try:
        version = metadata.version("deepspeed")
    except metadata.PackageNotFoundError:
        raise EnvironmentFault(
            "engine deepspeed needs the package deepspeed, which is not installed; pip install "
            "'largegan[deepspeed]', or use engine fsdp2"
        ) from None
    if tuple(int(part) for part in version.split("+")[0].split(".")[:3]) < OLDEST_DEEPSPEED:
        raise EnvironmentFault(
            f"deepspeed {version} cannot reduce a phase's gradients in one go; install "
            f"{'.'.join(map(str, OLDEST_DEEPSPEED))} or newer"
        )
