"""What a rollback changes: settings of the run, by words such as `times 0.5`."""

import math
import re
from collections.abc import Mapping
from typing import Any

from jsonargparse import Namespace

from largegan.errors import ConfigError, shown

SEED = "train.seed"
ADA_P = "ada.p"  # no setting, but a number that the run adapts: it is changed in the checkpoint
STATE = {ADA_P: ("augment.p", 0.0, 1.0)}  # its name among the networks' buffers, least, most
WORDS = re.compile(r"\s*(times|plus)\s+(\S+)\s*")


def changed(name: str, value: float, change: float | str) -> float:
    """A number after a change: a number that replaces it, `times F` or `plus N`.

    Raises `ConfigError` for other words, and for what is no number then.
    """
    found = WORDS.fullmatch(change) if isinstance(change, str) else None
    try:
        if isinstance(change, bool) or (isinstance(change, str) and found is None):
            raise ValueError
        amount = float(found[2] if found else change)
        new = {"times": value * amount, "plus": value + amount}[found[1]] if found else amount
        if not math.isfinite(new):
            raise ValueError
    except (ValueError, TypeError):
        raise ConfigError(
            f"health.rollback.change: {name} is to become {shown(change)}; give a number, `times "
            "0.5` or `plus 1`"
        ) from None
    return round(new) if isinstance(value, int) else float(f"{new:.6g}")


def setting(config: Namespace, name: str) -> Any:
    """The value of `train.seed` or `recipe.OPTION`; None where there is none."""
    group, _, key = name.partition(".")
    return getattr(getattr(config, group, None), key, None)


def after_rollback(config: Namespace) -> dict[str, float]:
    """The settings that a rollback would change, with their new values.

    Raises `ConfigError` for those that the run does not have, or that are no numbers.
    """
    wanted: Mapping[str, float | str] = config.health.rollback.change
    new = {}
    for name, change in wanted.items():
        if name in STATE:
            changed(name, 0.5, change)
            continue
        value = setting(config, name)
        known = name == SEED or name.startswith("recipe.")
        if not known or isinstance(value, bool) or not isinstance(value, int | float):
            what = "which is none here" if known and value is None else "which is no number of it"
            raise ConfigError(
                f"health.rollback.change names {shown(name)}, {what}; name {SEED}, {ADA_P} or a "
                "number of the recipe, such as recipe.lr"
            )
        new[name] = changed(name, value, change)
    return new
