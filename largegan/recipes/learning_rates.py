"""Learning rates of both players, where a paper has one, and the players that learn at them."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from largegan.files.ranges import Images, LearningRate
from largegan.recipe import Player, Progress, adam, linear_decay


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

    def adams(
        self, d: nn.Module, g: list[nn.Module], beta1: float, beta2: float
    ) -> dict[str, Player]:
        """The discriminator, and the generator with what learns beside it, both with Adam."""
        g_lr, d_lr = self.rates()
        return {
            "D": Player([d], adam(d_lr, beta1, beta2)),
            "G": Player(g, adam(g_lr, beta1, beta2)),
        }


@dataclass(frozen=True, kw_only=True)
class FallingRates(LearningRates):
    """Options where both rates may fall to 0 from the start, in a straight line."""

    lr: LearningRate = 2e-4
    """Adam's learning rate at the start, both players."""
    decay_nimg: Images | None = None
    """Images after which the learning rate has come down to 0; null: constant."""

    def adams(
        self, d: nn.Module, g: list[nn.Module], beta1: float, beta2: float
    ) -> dict[str, Player]:
        """As `LearningRates` has it; the rates fall."""
        players = super().adams(d, g, beta1, beta2)
        for player, lr in zip(("G", "D"), self.rates(), strict=True):
            players[player].schedule = partial(self.schedule, lr)
        return players

    def schedule(self, lr: float, at: Progress) -> dict[str, float]:
        """The rate that was `lr` at the start."""
        falls_from = 0 if self.decay_nimg else None
        return linear_decay(lr, at, constant_nimg=falls_from, decay_nimg=self.decay_nimg or 1)
