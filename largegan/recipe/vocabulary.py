"""The vocabulary: a recipe has players (who learns) and phases (who moves when, on what loss)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NamedTuple

from torch import Tensor, nn, optim

Batch = dict[str, Tensor]  # one micro-batch; phases of an iteration may leave notes in it
Terms = dict[str, Tensor]  # the loss of a phase is the sum of its terms


@dataclass(frozen=True)
class Progress:
    """How far training has come. Schedules and randomness are functions of this alone.

    `nimg` counts `batch_size` images per iteration, however many phases an iteration has.
    """

    step: int = 0
    nimg: int = 0

    def scheduled(self, value: "Callable[[Progress], float]") -> "float | Tensor":
        """`value` of this progress, for losses that change as training goes on.

        Where a phase is recorded (`train.cuda_graphs`) it is a tensor `[]` instead, filled anew
        before each replay: use it in arithmetic, and decide nothing by it.
        """
        return value(self)


@dataclass(frozen=True)
class DataSpec:
    """What one training example looks like; a recipe builds its networks for it.

    Images arrive as float32 `[N, channels, height, width]` in [-1, 1] under `batch["image"]`,
    labels (when `num_classes` > 0) as int64 `[N]` under `batch["label"]`. Data of two domains
    (`channels_b` > 0) hold two images of the same size instead: `batch["image_a"]` with
    `channels` and `batch["image_b"]` with `channels_b`. With `latent_scale` > 0 the data are
    latents of an encoder, times that scale, and have no bounds. With `condition_dim` > 0 a label is
    the number of a vector of so many numbers, of which there are `num_classes`.
    """

    channels: int
    height: int
    width: int
    num_classes: int = 0
    channels_b: int = 0
    latent_scale: float = 0.0
    condition_dim: int = 0


@dataclass(eq=False)
class Player:
    """Networks that are stepped together: one optimizer, one way of being distributed."""

    nets: list[nn.Module]
    make_optimizer: Callable[[Iterator[nn.Parameter]], optim.Optimizer]
    schedule: Callable[[Progress], dict] = lambda at: {}  # param-group values: lr, betas, ...

    def parameters(self) -> Iterator[nn.Parameter]:
        for net in self.nets:
            yield from net.parameters()


@dataclass(frozen=True)
class Phase:
    """One optimizer step of one player on one loss."""

    player: str
    loss: Callable[[Batch, Progress], Terms]
    every: int = 1  # lazy regularization: run every N iterations, with N times the loss
    repeat: int = 1  # this many steps in a row
    fresh: bool = True  # draw new data; False keeps the previous phase's batch and its notes
    second_order: bool = False  # differentiates through a gradient: in float32, not compiled
    after: Callable[[], None] | None = None  # e.g. weight clipping
    averages: bool = False  # the loss reads averaged networks; engines may have cut them over ranks
    # Players whose weights the loss reads besides its own; None: all. Others' may stay cut.
    others: tuple[str, ...] | None = None
    from_nimg: int = 0  # stages: not before so many images of the run,
    until_nimg: int | None = None  # and not from so many on

    @property
    def name(self) -> str:
        """`player.loss`, e.g. `D.critic`: how logs and errors call this phase."""
        return f"{self.player}.{name_of(self.loss).lstrip('_')}"

    def due(self, at: Progress) -> bool:
        """Whether it runs in the iteration that begins at this progress."""
        ended = self.until_nimg is not None and at.nimg >= self.until_nimg
        return at.step % self.every == 0 and at.nimg >= self.from_nimg and not ended


def by_averages_alone(after_iteration: Callable) -> Callable:
    """Marks an `after_iteration` that reads weights only as averages do that move towards them.

    Weights that are cut over ranks need not meet for it, then.
    """
    after_iteration.by_averages_alone = True  # type: ignore[attr-defined]
    return after_iteration


def reads_averages_alone(after_iteration: Callable) -> bool:
    """Whether it was marked as `by_averages_alone`."""
    return getattr(after_iteration, "by_averages_alone", False)


def name_of(function: Callable) -> str:
    """What a function is called; a partial one as the function in it, an object as its class."""
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


# How an output of a discriminator is an opinion: sigmoid of it is the probability of "real"; only
# its sign counts (hinge); it is above or below 1/2 (least squares); or only differences count
# (critics, relativistic losses), and the middle between both kinds parts real from fake.
Reading = Literal["probability", "sign", "half", "relative"]


class Scored(NamedTuple):
    """What a discriminator said of a micro-batch; see `Recipe.scored`."""

    real: Tensor
    fake: Tensor
    reading: Reading


@dataclass(frozen=True)
class Said:
    """What a loss said besides its terms: see `Recipe.watch` and `Recipe.scored`."""

    watched: dict[str, Tensor] = field(default_factory=dict)
    scored: dict[str, Scored] = field(default_factory=dict)


@dataclass(frozen=True)
class StepReport:
    """What one optimizer step looked like; identical on every rank."""

    finite: bool  # False: the step was skipped on all ranks alike
    grad_norm: float  # global gradient norm of the player, before clipping
    culprit: str | None = None  # the first gradient or loss term that was not finite
