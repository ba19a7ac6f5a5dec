"""Learning rates of both players, where a paper has one."""

from dataclasses import dataclass
from typing import Any

from largegan.ranges import LearningRate


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
