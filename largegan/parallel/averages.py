"""Averages of weights that are cut over the ranks are cut alike: each rank keeps an N-th of them.

Averaging is element by element, so a rank moves its pieces of the averages towards its pieces of
the weights, and nothing travels. For pictures and checkpoints they are gathered.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice

import torch
from torch import Tensor, nn

from largegan.parallel.launch import World
from largegan.parallel.pieces import Form, Window, cut, gather
from largegan.parallel.reduce import in_buckets
from largegan.parallel.share import Share
from largegan.recipe import FollowsWeights, Recipe


class CutAverage:
    """The parameters of one average, cut.

    Args:
        average: the module (`ema.Ema`); all copies that it keeps of the network it follows.
        forms: of the followed weights, by parameter.
        weights: this rank's pieces of them.
        rank, ranks: who this is among how many.
    """

    def __init__(
        self,
        average: nn.Module,
        forms: dict[nn.Parameter, Form],
        weights: Callable[[], dict[nn.Parameter, Tensor]],
        rank: int,
        ranks: int,
    ):
        self.average = average
        self.followed = list(average.follows[0].parameters())
        self.weights, self.rank, self.ranks = weights, rank, ranks
        pairs = zip(average.parameters(), cycle(self.followed), strict=False)
        self.windows = [Window(mine, forms[theirs]) for mine, theirs in pairs]
        self.flats = [cut(w.flat(), rank, ranks).clone() for w in self.windows]
        average.pieces = self.pieces
        self.close()

    @contextmanager
    def pieces(self) -> Iterator[None]:
        """Within it all parameters, averaged and followed, are this rank's pieces."""
        weights, away = self.weights(), self.average.away
        self.average.away = False
        shown = {p: p.data for p in (*self.followed, *(w.parameter for w in self.windows))}
        for p in self.followed:
            p.data = weights[p]
        for window, flat in zip(self.windows, self.flats, strict=True):
            window.parameter.data = flat
        try:
            yield
        finally:
            self.average.away = away
            for p, data in shown.items():
                p.data = data

    def open(self) -> None:
        for window, value in zip(self.windows, self.values(), strict=True):
            window.parameter.data = value
        self.average.away = False

    def close(self) -> None:
        self.average.away = True
        for window in self.windows:
            window.close()

    def values(self) -> Iterator[Tensor]:
        """Whole averages, on every rank, gathered a bucket at a time."""
        forms = iter([window.form for window in self.windows])
        for some in in_buckets(self.flats):
            yield from gather(some, islice(forms, len(some)))

    @torch.no_grad()
    def load(self, number: int, value: Tensor) -> None:
        """Takes this rank's piece of a whole average."""
        flat = self.windows[number].form.flat(value.to(self.flats[number].device))
        self.flats[number].copy_(cut(flat, self.rank, self.ranks))


def cut_averages(
    recipe: Recipe, shares: Iterable[Share], world: World
) -> tuple[list[CutAverage], set[nn.Parameter]]:
    """Cuts the averages of weights that are all cut, be it by several players' shares.

    Also returns the weights that the others follow, which they have to see whole.
    """
    splitting = [share for share in shares if share.splits_weights]
    forms = {window.parameter: window.form for share in splitting for window in share.windows}
    found, whole = [], set()
    for module in recipe.modules():
        if not isinstance(module, FollowsWeights):
            continue
        followed = set(module.follows[0].parameters())
        if followed and followed <= forms.keys():
            pieces = partial(pieces_of, [s for s in splitting if followed & set(s.params)])
            found.append(CutAverage(module, forms, pieces, world.rank, world.size))
        else:
            whole |= followed
    return found, whole


def pieces_of(shares: Iterable[Share]) -> dict[nn.Parameter, Tensor]:
    return {p: piece for share in shares for p, piece in share.pieces().items()}
