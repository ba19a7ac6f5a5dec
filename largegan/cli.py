"""What the command-line tools share: their words, the device, bars, and one sentence for a fault.

Heavy imports wait inside the functions, so that `--help` answers at once.
"""

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from largegan.errors import ConfigError, EnvironmentFault, UserError

if TYPE_CHECKING:
    import torch


def exit_code(work: Callable[[], int | None]) -> int:
    """Does `work`; what a user can mend becomes one sentence and its documented exit code."""
    try:
        return work() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def choose_device(name: str | None, default: "torch.device | None" = None) -> "torch.device":
    """The device called `name`, tried; without a name `default`, or a GPU if there is one.

    Raises EnvironmentFault.
    """
    import torch

    if name is None:
        return default or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as fault:  # a torch without CUDA asserts
        first = str(fault).splitlines()[0]
        raise EnvironmentFault(f"--device {name} cannot be used: {first}; try cpu") from fault
    return device


def refuse_existing(paths: list[Path], *, overwrite: bool) -> None:
    """Raises ConfigError if there is anything that `overwrite` does not allow to replace."""
    taken = [path for path in paths if path.exists()]
    if taken and not overwrite:
        more = f" (and {len(taken) - 1} more)" if len(taken) > 1 else ""
        raise ConfigError(
            f"{taken[0]}{more} exists; choose another OUT or give --overwrite to replace it"
        )


def read_seeds(text: str, what: str = "the seeds") -> list[int]:
    """ "0-3,42" -> [0, 1, 2, 3, 42]."""
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not found or (found[2] and int(found[2]) < int(found[1])):
            raise ConfigError(f"cannot read {what} {text!r} at {part!r}; write 0-15,42")
        seeds += range(int(found[1]), int(found[2] or found[1]) + 1)
    return seeds


def read_grid(text: str) -> tuple[int, int]:
    """ "4x10" -> (4, 10): rows, columns."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text.lower())
    if not found:
        raise ConfigError(f"--grid {text} is not rows x columns, such as 4x10")
    return int(found[1]), int(found[2])


def read_thresholds(text: str | None) -> tuple[float, ...]:
    """ "0.3,1" -> (0.3, 1.0)."""
    try:
        return tuple(float(word) for word in text.split(",")) if text else ()
    except ValueError as fault:
        raise ConfigError(f"cannot read --thresholds {text}; write 0.3,0.7,1") from fault


def with_progress(items: Iterable, total: int, *, what: str = "drawing") -> Iterable:
    """A bar when there is something to wait for and somebody to see it."""
    from tqdm import tqdm

    return tqdm(items, total=total, unit="img", desc=what, disable=None, delay=1)
