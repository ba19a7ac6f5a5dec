"""What the command-line tools share: their words, the device, bars, and one sentence for a fault.

Heavy imports wait inside the functions, so that `--help` answers at once.
"""

import math
import os
import re
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from largegan.errors import ConfigError, EnvironmentFault, UserError
from largegan.files import output
from largegan.files.output import shown
from largegan.files.stopping import Stopped, stops

if TYPE_CHECKING:
    import torch

LARGEST_SEED = (1 << 63) - 1  # of torch's generators
MOST_SEEDS = 10_000_000


def exit_code(work: Callable[[], int | None]) -> int:
    """Does `work`; what a user can mend becomes one sentence and its documented exit code.

    So does being stopped by a signal (128 + its number). Nothing unfinished stays behind.
    """
    try:
        with stops():
            return work() or 0
    except UserError as error:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        return error.exit_code
    except MemoryError:
        print("error: there is not enough memory for this; ask for less at once", file=sys.stderr)
        return EnvironmentFault.exit_code
    except Stopped as asked:
        print(f"error: stopped by {asked.name}; what was unfinished is gone", file=sys.stderr)
        return asked.exit_code
    except BrokenPipeError:  # whoever read what we say has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:
        output.clean_up()


def one_line(text: str) -> str:
    """A sentence as it may be shown: on one line, what cannot be printed escaped."""
    text = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


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
    claims = output.Outputs(overwrite=overwrite)
    for path in paths:
        claims.file(path)


def read_seeds(text: str, what: str = "the seeds") -> list[int]:
    """ "0-3,42" -> [0, 1, 2, 3, 42]. Raises ConfigError before more than MOST_SEEDS are made."""
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*([0-9]{1,20})(?:-([0-9]{1,20}))?\s*", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if last < first:
            raise ConfigError(f"cannot read {what} {shown(text)!r} at {shown(part)!r}; "
                              "write 0-15,42")  # fmt: skip
        if last > LARGEST_SEED:
            raise ConfigError(f"{what} go up to {last}; they lie between 0 and {LARGEST_SEED}")
        if len(seeds) + last - first >= MOST_SEEDS:
            raise ConfigError(
                f"{shown(text)} are more than {MOST_SEEDS:,} seeds at once; ask for fewer"
            )
        seeds += range(first, last + 1)
    return seeds


def read_window(text: str) -> tuple[float, float]:
    """ "-1000,2000" -> (-1000.0, 2000.0), for argparse."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not -math.inf < low < high < math.inf:
        raise ArgumentTypeError(f"{text!r} is not two rising numbers, such as -1000,2000")
    return low, high


def read_colour(text: str) -> tuple[int, int, int]:
    """ "255,0,0" -> (255, 0, 0), for argparse."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or not all(0 <= n <= 255 for n in numbers):
        raise ArgumentTypeError(f"{text!r} is not a colour such as 255,255,255")
    return numbers


def check_seed(seed: int, what: str = "--seed") -> int:
    """Raises ConfigError for what is no seed of torch's generators."""
    if not 0 <= seed <= LARGEST_SEED:
        raise ConfigError(f"{what} is {seed}; seeds lie between 0 and {LARGEST_SEED}")
    return seed


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
