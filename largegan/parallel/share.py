"""How one player lies on the ranks: what every engine of the table has."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from torch import Tensor, nn, optim

from largegan.parallel.launch import World
from largegan.parallel.pieces import Window
from largegan.recipe import Recipe


class Share(Protocol):
    """One player's parameters on the ranks. `names` are those of `recipe.named_parameters()`.

    All ranks call everything alike, in the same order.
    """

    name: str  # as in the configuration
    params: list[nn.Parameter]
    optimizer: optim.Optimizer
    splits_weights: bool  # between phases no rank holds a whole weight
    splits_moments: bool  # no rank holds the whole state of the optimizer
    recordable: bool  # whether `backward` can be part of a CUDA graph: it talks to no other rank
    windows: list[Window]  # empty where the parameters are the engine's own

    def begin(self, *, moves: bool, second_order: bool) -> None:
        """Before a phase that reads this player's weights; `moves` says whether it is its own."""

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Adds gradients of one micro-batch of this rank."""

    def rest(self) -> None:
        """After the phase of another player: weights back to where they lie between phases."""

    def reduce(self, extras: list[Tensor]) -> Tensor:
        """Sums gradients and `extras` over ranks, these in place; returns the global norm `[]`.

        A missing gradient is a zero: ranks and engines must agree on what is stepped. Then
        weights go back to where they lie between phases.
        """

    def scale(self, factor: float) -> None:
        """Multiplies the reduced gradients."""

    def step(self) -> None:
        """Moves the weights by the reduced gradients, and forgets these."""

    def skip(self) -> None:
        """Forgets the reduced gradients."""

    def suspects(self) -> Iterator[tuple[str, Tensor]]:
        """What this rank holds of weights and gradients, to look for the first bad one."""

    def whole(self) -> AbstractContextManager[None]:
        """Within it every rank reads whole weights on the modules."""

    def pieces(self) -> dict[nn.Parameter, Tensor]:
        """This rank's flat piece of each weight, where `splits_weights`; see `pieces.cut`."""

    def editing(self) -> AbstractContextManager[None]:
        """Within it a recipe may change the weights element by element, in place."""

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Whole float32 weights by name; what no rank holds whole is gathered by buckets."""

    def load_weight(self, name: str, value: Tensor) -> None: ...

    def moments(self) -> Iterator[tuple[str, str, Tensor]]:
        """(name, field, whole tensor) of the optimizer; nothing before the first step."""

    def load_moments(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Fields by parameter, as `moments` gave them."""


MakeShare = Callable[[Recipe, str, list[str], World], Share]
