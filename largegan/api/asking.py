"""What a caller of the Python interface may ask for: seeds and counts, or a sentence."""

import math
import operator
from collections.abc import Sequence
from typing import Any

import torch

from largegan.errors import ConfigError
from largegan.files.words import LARGEST_SEED


def which_seeds(n: int | None, seed: int | None, seeds: Sequence[int] | None) -> Sequence[int]:
    """The seeds that are asked for. Raises ConfigError."""
    if seeds is not None:
        refuse_beside("seeds", n=n, seed=seed)
        return checked_seeds(seeds)
    count = whole(1 if n is None else n)
    if count is None or count < 1:
        raise ConfigError(f"n is {n!r}; it must be a whole number from 1 on")
    first = checked_seeds([0 if seed is None else seed])[0]
    return checked_seeds(range(first, first + count))


def whole(value: Any) -> int | None:
    """The whole number that a value is, of Python, numpy or torch; None where it is none."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        return None


def check_number(name: str, value: Any) -> float | None:
    """A number that may be left out. Raises ConfigError for what is none."""
    if value is None:
        return None
    try:
        found = math.nan if isinstance(value, str | bytes | bool) else float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise ConfigError(f"{name} is {value!r}; give a number")
    return found


def checked_seeds(seeds: Sequence[int]) -> list[int]:
    """Raises ConfigError for what is no seed of torch's generators."""
    given = several(seeds)
    if not given:
        raise ConfigError("seeds is empty; give some, such as range(8)")
    found = []
    for seed in given:
        number = whole(seed)
        if number is None or not 0 <= number <= LARGEST_SEED:
            raise ConfigError(f"{seed!r} is no seed; seeds are whole numbers from 0 on")
        found.append(number)
    return found


def several(value: Any) -> list:
    """What is in a list, an array or a tensor; another value alone, as a list of one."""
    if isinstance(value, str | bytes):
        return [value]
    try:
        return list(value)
    except TypeError:  # a number, or an array of no dimensions
        return [value]


def refuse_beside(name: str, **others: Any) -> None:
    """Raises ConfigError where one of these says, too, which images to draw."""
    for other, value in others.items():
        if value is not None:
            raise ConfigError(f"{name} and {other} were given; {name} alone says what to draw")


def check_batch(batch: int, **counts: int) -> None:
    """Raises ConfigError for a count below 1."""
    for name, value in {"batch or steps": batch, **counts}.items():
        number = whole(value)
        if number is None or number < 1:
            raise ConfigError(f"{name} is {value!r}; it must be a whole number from 1 on")


def numbers(name: str, value: Any) -> torch.Tensor:
    """Latents or styles as float32. Raises ConfigError for what is no array of finite numbers."""
    try:
        found = torch.as_tensor(value, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as fault:
        raise ConfigError(f"{name} is no array of numbers; give a tensor or an array") from fault
    if not found.isfinite().all():
        raise ConfigError(f"{name} holds numbers that are not finite; look where they come from")
    return found
