"""What a caller of the Python interface may ask for: seeds and counts, or a sentence."""

from collections.abc import Sequence
from typing import Any

from largegan.errors import ConfigError
from largegan.files.words import LARGEST_SEED


def which_seeds(n: int | None, seed: int | None, seeds: Sequence[int] | None) -> Sequence[int]:
    """The seeds that are asked for. Raises ConfigError."""
    if seeds is not None:
        refuse_beside("seeds", n=n, seed=seed)
        return checked_seeds(seeds)
    count, first = 1 if n is None else n, seed or 0
    if type(count) is not int or count < 1:
        raise ConfigError(f"n is {n}; it must be a whole number from 1 on")
    return checked_seeds(range(first, first + count))


def checked_seeds(seeds: Sequence[int]) -> list[int]:
    """Raises ConfigError for what is no seed of torch's generators."""
    found = list(seeds)
    if not found:
        raise ConfigError("seeds is empty; give some, such as range(8)")
    for seed in found:
        if not isinstance(seed, int) or not 0 <= seed <= LARGEST_SEED:
            raise ConfigError(f"{seed!r} is no seed; seeds are whole numbers from 0 on")
    return found


def refuse_beside(name: str, **others: Any) -> None:
    """Raises ConfigError where one of these says, too, which images to draw."""
    for other, value in others.items():
        if value is not None:
            raise ConfigError(f"{name} and {other} were given; {name} alone says what to draw")


def check_batch(batch: int, **counts: int) -> None:
    """Raises ConfigError for a count below 1."""
    for name, value in {"batch or steps": batch, **counts}.items():
        if type(value) is not int or value < 1:
            raise ConfigError(f"{name} is {value}; it must be a whole number from 1 on")
