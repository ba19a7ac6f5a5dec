"""Exponential moving average of a network's weights, with its half-life counted in images."""

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from largegan.ema.powers import PowerEma
from largegan.recipe import Progress


class Ema(nn.Module):
    """A frozen, evaluating copy of `net` that follows it slowly.

    `halflife_nimg` is the number of training images after which an old weight counts half
    (StyleGAN2's `ema_kimg * 1000`); 0 makes it a plain copy. `rampup` shortens the half-life to
    that fraction of the images seen so far, so that early averages forget the random start
    (Karras et al., 2020, use 0.05); None switches it off. Floating-point buffers (batch-norm
    statistics, spectral-norm vectors) are averaged like weights (Brock et al., 2019), or copied
    when `average_buffers` is False, as StyleGAN2 does; counters are always copied.

    An engine that cuts weights over ranks cuts averages too. It sets `pieces`: within it, the
    parameters of `net` and of the average are this rank's parts of them. Outside, averages are
    there to be read where an engine gathers them: `Engine.whole`, and phases that say `averages`.
    """

    pieces: Callable[[], AbstractContextManager[None]] = staticmethod(nullcontext)
    away = False  # cut, and not gathered just now: an engine says so

    def __init__(
        self,
        net: nn.Module,
        *,
        halflife_nimg: float = 10_000,
        rampup: float | None = 0.05,
        average_buffers: bool = True,
    ):
        super().__init__()
        self.follows: tuple[nn.Module, ...] = (net,)  # a tuple, for it is no part of this module
        self.net = copy.deepcopy(net).requires_grad_(False).eval()
        self.halflife_nimg, self.rampup = halflife_nimg, rampup
        self.average_buffers = average_buffers
        self.powers = nn.ModuleList()

    def follow_powers(self, widths: Sequence[float]) -> None:
        """From the first image on, also keeps averages of these widths, for snapshots."""
        self.powers.extend(PowerEma(self.net, width) for width in widths)

    def __getattr__(self, name: str) -> object:
        if name == "net" and self.away:
            raise RuntimeError(
                "averaged weights are cut over the processes here; a loss that reads them says so "
                "(Phase(..., averages=True)), everything else reads them within Engine.whole"
            )
        return super().__getattr__(name)

    def forward(self, *inputs: Tensor | None) -> Tensor:
        return self.net(*inputs)

    def train(self, mode: bool = True) -> "Ema":
        """The average is for looking at: it stays in evaluation mode."""
        return super().train(False)

    def beta(self, at: Progress, batch_size: int) -> float:
        """How much of the old average survives an iteration of `batch_size` images."""
        halflife = self.halflife_nimg
        if self.rampup is not None:
            halflife = min(halflife, at.nimg * self.rampup)
        return 0.5 ** (batch_size / max(halflife, 1e-8))

    @torch.no_grad()
    def update(
        self, net: nn.Module, at: Progress, batch_size: int, *, ramp: Progress | None = None
    ) -> None:
        """Moves the average towards `net`; `at` is the progress after the iteration.

        `ramp` is the progress that the ramp-up goes by, if it is another.
        """
        with self.pieces():
            self._move(net, 1 - self.beta(ramp or at, batch_size))
            for power in self.powers:
                power.update(net, at.nimg, batch_size)

    def _move(self, net: nn.Module, weight: float) -> None:
        averaged = list(zip(self.net.parameters(), net.parameters(), strict=True))
        copied = []
        for mine, theirs in zip(self.net.buffers(), net.buffers(), strict=True):
            average = self.average_buffers and mine.is_floating_point()
            (averaged if average else copied).append((mine, theirs))
        if averaged:
            torch._foreach_lerp_(*map(list, zip(*averaged, strict=True)), weight)
        for mine, theirs in copied:
            mine.copy_(theirs)
