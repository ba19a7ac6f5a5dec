"""Real training for jobs that stand still when asked to: `MODULE=tests.slurm.double`.

It has a recipe of its own besides.

The recipe is the engines' toy: spectral norm, averages, and first- and second-order phases of both
players. It is smooth and its Adam has a large eps, so that the order in which numbers are added
changes the seventh digit and nothing else, for as long as these tests train. With kinks (ReLU,
hinge) or a small eps, rounding of one number near 0 becomes a step of its own, and after twenty
iterations one process and four play different games, both right.
"""

import os
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from largegan.recipe import DataSpec
from largegan.recipes import TABLE
from largegan.trainer import Trainer
from tests.parallel.toy import Toy

HOLD_AT = 12


@dataclass(frozen=True, kw_only=True)
class DoubleOptions:
    """Options of `double`: it has none."""


class Double(Toy):
    """The toy, as a recipe of the table."""

    def __init__(self, data: DataSpec, options: DoubleOptions):
        super().__init__(data)


class Holding(Trainer):
    """Stops in the middle of an iteration, of any recipe, when a test asks for it."""

    def run_phase(self, phase, micro, turn):
        if turn == (1, 0) and self.at.step == HOLD_AT:
            hold()
        if turn == (1, 0) and self.at.step >= HOLD_AT and "TROUBLE" in os.environ:
            os.kill(os.getpid(), int(os.environ["TROUBLE"]))  # a signal, in every start
        return super().run_phase(phase, micro, turn)


def hold() -> None:
    """HOLD=FOLDER: in the job's first start, the last rank waits for FOLDER/go.

    It does so on the second node, after the first player's step and before the second's, while the
    others wait for it. Who and where it is stands in FOLDER/held.
    """
    last = os.environ.get("RANK") == str(int(os.environ.get("WORLD_SIZE", "1")) - 1)
    if "HOLD" not in os.environ or not last or int(os.environ.get("SLURM_RESTART_COUNT", "0")):
        return
    folder = Path(os.environ["HOLD"])
    (folder / "held.part").write_text(f"{socket.gethostname()} {os.getpid()}")
    (folder / "held.part").replace(folder / "held")
    while not (folder / "go").exists():
        time.sleep(0.05)


def register() -> None:
    sys.modules["largegan.recipes.double"] = sys.modules[__name__]
    TABLE["double"] = ("double:Double", "spectral norm, second-order phases")
    from largegan.run import start

    start.Trainer = Holding


def program(arguments: list[str], log: str, env: dict[str, str]) -> None:
    """The same in a forked process (see tests/forked.py), as one rank of several or alone."""
    from tests.forked import program

    register()
    program(arguments, log, env)


if __name__ == "__main__":
    from largegan.parallel.launch import leave
    from largegan.train import main

    register()
    leave(main())
