"""What the trainer asks of an engine: gradients in, the same optimizer step on all ranks out."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, optim

from largegan.recipe import Progress, Recipe


@dataclass(frozen=True)
class StepReport:
    """What one optimizer step looked like; identical on every rank."""

    finite: bool  # False: the step was skipped on all ranks alike
    grad_norm: float  # global gradient norm of the player, before clipping
    culprit: str | None = None  # the first gradient or loss term that was not finite


class Engine(Protocol):
    """Owns optimizers and everything distributed. The recipe keeps plain modules.

    Per phase the trainer calls `begin`, then `backward` once per micro-batch of this rank, then
    `finish`, which reduces, checks, clips, schedules and steps.
    """

    rank: int
    world: int
    device: torch.device
    optimizers: dict[str, optim.Optimizer]

    def setup(self, recipe: Recipe) -> None: ...

    def begin(self, player: str, *, second_order: bool) -> None: ...

    def backward(self, loss: Tensor, *, last: bool) -> None: ...

    def finish(
        self, player: str, at: Progress, *, terms: dict[str, Tensor], max_grad_norm: float | None
    ) -> StepReport: ...

    def mean(self, values: Tensor) -> Tensor: ...

    def model_state(self) -> dict[str, Tensor]: ...

    def load_model_state(self, state: dict[str, Tensor]) -> None: ...

    def optimizer_state(self) -> dict[str, Tensor]: ...

    def load_optimizer_state(self, state: dict[str, Tensor]) -> None: ...
