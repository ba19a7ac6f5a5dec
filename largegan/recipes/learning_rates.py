"""Learning rates of both players, where a paper has one."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from largegan.ranges import Images, LearningRate
from largegan.recipe import Progress, linear_decay


@dataclass(frozen=True, kw_only=True)
class LearningRates:
    """Options where `lr` is that of both players: two time scales (Heusel et al., 2017)."""

    g_lr: LearningRate | None = None
    """Learning rate of the generator; null: lr."""
    d_lr: LearningRate | None = None
    """Learning rate of the discriminator; null: lr."""

    def rates(self, lr: Any = None) -> tuple[float, float]:
        """Of the generator and the discriminator; `lr` is what null means, else the option."""
        common = self.lr if lr is None else lr  # type: ignore[attr-defined]  # of the subclass
        return (
            common if self.g_lr is None else self.g_lr,
            common if self.d_lr is None else self.d_lr,
        )


@dataclass(frozen=True, kw_only=True)
class FallingRates(LearningRates):
    """Those, and both may fall to 0 from the start, in a straight line."""

    decay_nimg: Images | None = None
    """Images after which the learning rate has come down to 0; null: constant."""

    def falling(self, lr: float) -> Callable[[Progress], dict[str, float]]:
        """A player's schedule that begins at `lr`."""
        falls_from = 0 if self.decay_nimg else None
        return partial(linear_decay, lr, constant_nimg=falls_from, decay_nimg=self.decay_nimg or 1)
