"""Training with one more recipe: spectral norm, a first- and a second-order phase in one.

`MODULE=tests.slurm.double` makes slurm/train.sbatch run it, as people do with recipes of their own.
"""

import os
import sys

from largegan.recipe import DataSpec, Phase, Player, adam
from largegan.recipes import TABLE
from largegan.recipes.sngan import SNGAN


class Double(SNGAN):
    """SNGAN, tiny, with R1 in a lazy phase of its own."""

    def __init__(self, data: DataSpec):
        super().__init__(data, z_dim=4, g_channels=4, d_channels=4, d_steps=1, g_norm="none")
        # With beta1 = 0, a tiny eps would turn the last bit of a vanishing gradient into a step;
        # and small steps keep last bits from growing into another game within 40 iterations.
        self.players = {
            "D": Player([self.D], adam(2e-5, 0.0, 0.9, eps=1e-4, lazy=2)),
            "G": Player([self.G], adam(2e-5, 0.0, 0.9, eps=1e-4)),
        }
        self.phases.append(Phase("D", self.r1, every=2, fresh=False, second_order=True))

    def r1(self, batch, at):
        from largegan.losses import r1

        real = batch["image"].detach().requires_grad_()
        return {"r1": r1(self.D(real, self.labels(batch)), real)}


def register() -> None:
    sys.modules["largegan.recipes.double"] = sys.modules[__name__]
    TABLE["double"] = ("double:Double", "spectral norm and R1")


def program(arguments: list[str], log: str, env: dict[str, str]) -> None:
    """The same in a forked process (see tests/forked.py), as one rank of several or alone."""
    from tests.forked import program

    os.environ.update(env)
    register()
    program(arguments, log)


if __name__ == "__main__":
    from largegan.parallel.launch import leave
    from largegan.train import main

    register()
    leave(main())
