"""Real training for jobs, with a recipe of one's own: `MODULE=tests.slurm.double`.

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
from pathlib import Path

from largegan.recipe import Batch, Progress, Terms
from largegan.recipes import TABLE
from tests.parallel.toy import Toy

HOLD_AT = 12


class Double(Toy):
    """The toy, which stops in the middle of an iteration when a test asks for it."""

    def generator(self, batch: Batch, at: Progress) -> Terms:
        if at.step == HOLD_AT:
            hold()
        if at.step >= HOLD_AT and "TROUBLE" in os.environ:  # a signal's number, in every start
            os.kill(os.getpid(), int(os.environ["TROUBLE"]))
        return super().generator(batch, at)


def hold() -> None:
    """HOLD=FOLDER: in the job's first start, the last rank waits for FOLDER/go.

    It does so on the second node, after D's step and before G's, while the others wait for it. Who
    and where it is stands in FOLDER/held.
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
