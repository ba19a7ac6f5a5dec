"""What the commands share: options, words, the device, bars, and one sentence for a fault.

Heavy imports wait inside the functions, so that `--help` answers at once.
"""

import argparse
import math
import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

from largegan.errors import ConfigError, EnvironmentFault, UserError, of_the_machine, shown
from largegan.files import output
from largegan.files.reading import name_warnings
from largegan.files.stopping import Stopped, stops
from largegan.files.words import LARGEST_SEED, Number, Parser, to_name, to_path, to_source

MOST_SEEDS = 10_000_000
MOST_CELLS = 10_000  # of a sheet


OPTIONS: dict[str, dict[str, Any]] = {  # of several commands; here with their one help text
    "checkpoint": {
        "type": to_path,
        "help": "RUN, RUN/checkpoints/NNNNNNNNN or a published model",
    },
    "--backbone": {
        "type": to_name,
        "default": "inception",
        "help": "feature network: inception, efficientnet_lite0 or a timm model",
    },
    "--batch": {
        "type": Number("Batch"),
        "default": 64,
        "help": "images computed at once (default: 64)",
    },
    "--classes": {
        "type": to_source,
        "metavar": "A,B",
        "help": "a checkpoint's classes, by number or name, such as 0,3,cat",
    },
    "--device": {
        "type": to_name,
        "help": "cpu, cuda, cuda:1, ... (default: a GPU if there is one)",
    },
    "--json": {
        "type": to_path,
        "metavar": "FILE",
        "help": "write the scores and how they were made",
    },
    "--neighbors": {
        "type": Number("Neighbors"),
        "default": 5,
        "help": "k of precision, recall, density, coverage (default: 5; NVIDIA's papers: 3)",
    },
    "--overwrite": {"action": "store_true", "help": "replace files that exist"},
    "--raw": {
        "action": "store_true",
        "help": "a checkpoint draws with its weights as they were trained, not with their averages",
    },
    "--seed": {
        "type": Number("Seed"),
        "default": 0,
        "help": "first seed of a checkpoint's images",
    },
    "--standing": {
        "type": Number("WholeNumber"),
        "default": 0,
        "metavar": "N",
        "help": "batch norm with the statistics of N batches of samples, as BigGAN's paper, "
        "instead of those of training",
    },
    "--toward": {
        "choices": ("mean", "class"),
        "default": "mean",
        "help": "where --truncation pulls w: to the mean of all, or of the class (default: mean)",
    },
    "--truncation": {
        "type": Number("Truncation"),
        "metavar": "T",
        "help": "typical, less varied images, the more so the smaller T: scales z, or draws values "
        "beyond T again (biggan), or pulls w to its mean (stylegan)",
    },
    "--weights-dir": {
        "type": to_path,
        "metavar": "FOLDER",
        "help": "look for a feature network's weights here first",
    },
}


def new_parser(command: str, about: str | None) -> argparse.ArgumentParser:
    """The parser of `largegan COMMAND`; `about` is the docstring of its module."""
    return Parser(prog=f"largegan {command}", description=about)


# Words that were an option's once, and that people's scripts still say.
ALSO = {"--neighbors": ("--neighbours",)}


def add_options(parser: argparse.ArgumentParser, *names: str) -> None:
    """Adds rows of `OPTIONS`."""
    for name in names:
        parser.add_argument(name, *ALSO.get(name, ()), **OPTIONS[name])


def color(text: str) -> tuple[int, int, int]:
    """ "255,0,0" -> (255, 0, 0), for `type=` of an option."""
    words = text.split(",")
    if len(words) != 3 or not all(w.strip().isdecimal() and int(w) <= 255 for w in words):
        raise argparse.ArgumentTypeError(f"{text!r} is not a color such as 255,255,255")
    return int(words[0]), int(words[1]), int(words[2])


def exit_code(work: Callable[[], int | None]) -> int:
    """Does `work`; what a user can mend becomes one sentence and its documented exit code.

    So does being stopped by a signal (128 + its number). Nothing unfinished stays behind.
    """
    name_warnings()
    try:
        with stops():
            return work() or 0
    except UserError as error:
        say_fault(error)
        return error.exit_code
    except BrokenPipeError:  # whoever read what we say has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, MemoryError) as fault:
        say_fault(of_the_machine(fault))
        return EnvironmentFault.exit_code
    except Stopped as asked:
        say_fault(f"stopped by {asked.name}; what was unfinished is gone")
        return asked.exit_code
    finally:
        output.clean_up()


def say_fault(fault: object) -> None:
    """The sentence, on a line of its own below all bars."""
    bars = getattr(sys.modules.get("tqdm"), "tqdm", None)
    for bar in list(getattr(bars, "_instances", ())):
        bar.close()
    print(f"error: {fault}", file=sys.stderr)


def what_to_draw(arguments: argparse.Namespace) -> dict[str, Any]:
    """What --classes, --truncation and --toward say, as `open_sampler` takes it."""
    return {name: getattr(arguments, name) for name in ("classes", "truncation", "toward")}


def some_of(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    """A `type=` for argparse: "a,b" -> ("a", "b"), each of them known."""

    def read(text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(","))
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return names

    return read


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
        raise argparse.ArgumentTypeError(f"{text!r} is not two rising numbers, such as -1000,2000")
    return low, high


def check_seed(seed: int, what: str) -> None:
    """Raises ConfigError for what is no seed of torch's generators."""
    if not 0 <= seed <= LARGEST_SEED:
        raise ConfigError(f"{what} is {seed}; seeds lie between 0 and {LARGEST_SEED}")


def read_grid(text: str) -> tuple[int, int]:
    """ "4x10" -> (4, 10): rows, columns."""
    found = re.fullmatch(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})", text.lower())
    if not found or int(found[1]) * int(found[2]) > MOST_CELLS:
        raise ConfigError(
            f"--grid {shown(text, 60)} is not rows x columns, such as 4x10, of at most "
            f"{MOST_CELLS} pictures"
        )
    return int(found[1]), int(found[2])


def with_progress(items: Iterable, total: int, *, what: str = "drawing") -> Iterable:
    """A bar when there is something to wait for and somebody to see it."""
    from tqdm import tqdm

    return tqdm(items, total=total, unit="img", desc=what, disable=None, delay=1)
