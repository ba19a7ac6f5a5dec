"""Which engine each player gets, from the configuration and from Accelerate's; what cannot be is
refused here, before any work."""

import json
import os
from collections.abc import Mapping
from functools import partial
from importlib import metadata
from pathlib import Path

from largegan.errors import ConfigError, EnvironmentFault
from largegan.parallel.engine import MakeShare
from largegan.parallel.launch import World
from largegan.parallel.replicated import Replicated
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


def told_by_accelerate(env: Mapping[str, str], precision: str) -> tuple[str | None, str | None]:
    """(the engine that `accelerate launch` was told to use, its DeepSpeed file)."""
    mixed = env.get("ACCELERATE_MIXED_PRECISION", "no")
    if mixed not in ("no", precision):
        raise ConfigError(
            f"accelerate's configuration asks for mixed precision {mixed}, train.precision is "
            f"{precision}; say --train.precision bf16, or mixed_precision: 'no'"
        )
    if env.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1") not in ("1", "auto", "None"):
        raise ConfigError(
            "accelerate's configuration sets gradient_accumulation_steps, which says nothing "
            "here; state --train.batch_size and --train.micro_batch_size"
        )
    if on(env, "ACCELERATE_USE_DEEPSPEED"):
        return told_deepspeed(env)
    if on(env, "ACCELERATE_USE_FSDP"):
        if env.get("FSDP_VERSION", "1") != "2":
            raise ConfigError(
                "accelerate's configuration asks for FSDP 1, which cannot differentiate through a "
                "gradient; set fsdp_version: 2"
            )
        return "fsdp2", None
    if on(env, "ACCELERATE_USE_MEGATRON_LM"):
        raise ConfigError("Megatron-LM has no image GANs; use parallel.engine")
    return None, None


def told_deepspeed(env: Mapping[str, str]) -> tuple[str, str | None]:
    """Accelerate hands over a JSON file, or single settings."""
    file = env.get("ACCELERATE_DEEPSPEED_CONFIG_FILE")
    if file and file.lower() != "none":
        return "deepspeed", file
    clipping = env.get("ACCELERATE_GRADIENT_CLIPPING", "0").lower()
    check_settings(
        {"gradient_clipping": 0 if clipping == "none" else float(clipping)}, "accelerate"
    )
    for kind in ("OPTIMIZER", "PARAM"):
        if env.get(f"ACCELERATE_DEEPSPEED_OFFLOAD_{kind}_DEVICE", "none").lower() != "none":
            raise ConfigError(
                f"accelerate's configuration offloads ({kind.lower()}), which has not been tried "
                "with two players; leave it out"
            )
    return f"zero{env.get('ACCELERATE_DEEPSPEED_ZERO_STAGE', '2')}", None


def on(env: Mapping[str, str], name: str) -> bool:
    return env.get(name, "false").lower() in ("true", "1", "yes")


def read_settings(path: str | None) -> dict:
    """A DeepSpeed JSON file, without what says "auto"."""
    if path is None:
        return {}
    try:
        content = json.loads(Path(path).read_text())
    except OSError as fault:
        raise ConfigError(f"DeepSpeed file {path}: cannot be read ({fault.strerror})") from None
    except ValueError as fault:
        raise ConfigError(f"DeepSpeed file {path}: not valid JSON ({fault})") from None
    if not isinstance(content, dict):
        raise ConfigError(f"DeepSpeed file {path}: expected an object at the top level")
    content = without_auto(content)
    check_settings(content, f"DeepSpeed file {path}")
    return content


def without_auto(section: dict) -> dict:
    return {
        key: without_auto(value) if isinstance(value, dict) else value
        for key, value in section.items()
        if value != "auto"
    }


def check_settings(settings: dict, source: str) -> None:
    """Refuses what would change training in silence, or twice."""
    if settings.get("gradient_clipping", 0) != 0:
        raise ConfigError(
            f"{source}: gradient_clipping must be 0; --train.max_grad_norm clips, under every "
            "engine alike"
        )
    if settings.get("gradient_accumulation_steps", 1) != 1:
        raise ConfigError(
            f"{source}: gradient_accumulation_steps must be 1; state --train.micro_batch_size"
        )
    for section in ("bf16", "fp16", "torch_autocast"):
        if settings.get(section, {}).get("enabled"):
            raise ConfigError(
                f"{source}: leave {section} out; weights stay float32, and --train.precision bf16 "
                "computes in bfloat16"
            )
    for section in ("optimizer", "scheduler"):
        if section in settings:
            raise ConfigError(f"{source}: leave {section} out; the recipe says how to optimise")
    zero = settings.get("zero_optimization", {})
    if zero.get("stage", 2) not in (1, 2, 3):
        raise ConfigError(f"{source}: zero_optimization.stage must be 1, 2 or 3")
    for section in ("offload_optimizer", "offload_param"):
        if zero.get(section, {}).get("device", "none") != "none":
            raise ConfigError(f"{source}: {section} has not been tried with two players")
