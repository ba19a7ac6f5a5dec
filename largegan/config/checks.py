"""What types cannot say of settings: one sentence for the first thing that cannot work."""

import dataclasses
import typing

from jsonargparse import Namespace

from largegan.config.explain import shortened
from largegan.config.schema import GROUPS
from largegan.errors import ConfigError
from largegan.files.ranges import Place
from largegan.files.special import special
from largegan.metrics import table


def check_groups(config: Namespace) -> None:
    """Refuses null, which the parser takes, for a group, and for a group within a group."""
    for group, schema in GROUPS.items():
        for name, hint in typing.get_type_hints(schema).items():
            if name not in vars(config[group]):  # null, and then a word of the command line
                raise ConfigError(f"{group} is null in a file; leave it out, or give its settings")
            if dataclasses.is_dataclass(hint) and getattr(config[group], name) is None:
                raise ConfigError(f"{group}.{name} is null; leave it out, or give its settings")


def check_places(config: Namespace) -> None:
    """Refuses paths that lead to what is no file and no folder, and may have no end."""
    for group, schema in GROUPS.items():
        for name, hint in typing.get_type_hints(schema).items():
            place = getattr(config[group], name)
            is_place = place and Place in (hint, *typing.get_args(hint))
            if is_place and (kind := special(place)):
                raise ConfigError(
                    f"{group}.{name} is {shortened(place)}, {kind}; give a file or folder"
                )


def check_evaluate(evaluate: Namespace) -> None:
    """The evaluate group, when it is used at all."""
    if evaluate.every_nimg is None:
        return
    table.rows(evaluate.metrics, "evaluate.metrics")
    given = table.given_by(evaluate.metrics)
    if evaluate.best not in given:
        raise ConfigError(
            f"evaluate.best is {evaluate.best}, but evaluate.metrics gives only {', '.join(given)}"
        )


def check_stop(stop: Namespace, evaluate: Namespace) -> None:
    """The settings train.stop, when they are used at all."""
    if stop.metric is None:
        return
    if evaluate.every_nimg is None:
        raise ConfigError(
            f"train.stop.metric is {stop.metric}, but nothing is scored while training; set "
            "evaluate.every_nimg"
        )
    given = table.given_by(evaluate.metrics)
    if stop.metric not in given:
        raise ConfigError(
            f"train.stop.metric is {stop.metric}, but evaluate.metrics gives only "
            f"{', '.join(given)}"
        )
    if stop.metric != evaluate.best:
        raise ConfigError(
            f"train.stop.metric is {stop.metric} and evaluate.best is {evaluate.best}; set both "
            "alike, so that the best checkpoint is kept"
        )
    has_errors = table.error_of(stop.metric) is not None and evaluate.error_bars
    if stop.min_gain == "error_bars" and not has_errors:
        raise ConfigError(
            f"train.stop.min_gain is error_bars, but {stop.metric} is scored without one; give a "
            "number, or set evaluate.error_bars"
        )


def actions_of(health: Namespace) -> dict[str, str]:
    """Verdict -> warn, stop or rollback, of those for which something is to be done."""
    given = {k: v for k, v in vars(health).items() if k.startswith("on_") and v is not None}
    return {name.removeprefix("on_"): action for name, action in given.items()}


def check_actions(config: Namespace) -> None:
    """The settings health.on_VERDICT and health.rollback, when they are used at all."""
    health, actions = config.health, actions_of(config.health)
    turning = [verdict for verdict, action in actions.items() if action == "rollback"]
    if actions and not health.signals:
        raise ConfigError(
            f"health.on_{next(iter(actions))} is set, but health.signals is off; switch it on"
        )
    if "discriminator_overfits" in actions and not config.data.held_out:
        raise ConfigError(
            "health.on_discriminator_overfits is set, but nothing is held out, so it is never "
            "found; set data.held_out"
        )
    if health.rollback.change and not turning:
        raise ConfigError(
            "health.rollback.change is set, but no verdict asks for a rollback; set "
            "health.on_VERDICT: rollback"
        )
    if not turning:
        return
    if config.train.save_every_nimg >= config.train.total_nimg:
        raise ConfigError(
            f"health.on_{turning[0]} is rollback, but train.save_every_nimg is "
            f"{config.train.save_every_nimg}, so there is no checkpoint before the end; save more "
            "often"
        )
