"""Instance norm whose statistics are those of a whole image, though it sees one tile at a time.

A generator with instance norm is local but for the mean and variance that each norm takes over the
image: give every tile those of the whole and tiles join without a seam. `share_norms` replaces the
norms of a network by ones that can be told what to use and asked what they saw.
"""

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from largegan.recipe import SeesOneImage


class Reached(Exception):
    """The norm whose statistics were wanted has them: the rest of the network need not run."""


@dataclass
class Moments:
    """Mean and variance per channel over many tiles, in float64 (Chan et al., 1979)."""

    count: int = 0
    mean: Tensor | float = 0.0
    m2: Tensor | float = 0.0  # sum of squared distances from the mean

    def add(self, x: Tensor) -> None:
        """`x` is `[1, C, H, W]`; an empty one changes nothing."""
        flat = x[0].flatten(1).double()
        count = flat.shape[1]
        if not count:
            return
        mean = flat.mean(1)
        m2 = (flat - mean[:, None]).square().sum(1)
        total = self.count + count
        delta = mean - self.mean
        self.m2 = self.m2 + m2 + delta.square() * (self.count * count / total)
        self.mean = self.mean + delta * (count / total)
        self.count = total

    @property
    def var(self) -> Tensor:
        return self.m2 / self.count


@dataclass
class Window:
    """Which part of a tile counts, as fractions of the (padded) tile: the rest is halo."""

    top: float = 0.0
    left: float = 0.0
    bottom: float = 1.0
    right: float = 1.0

    def of(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        rows = slice(round(self.top * height), round(self.bottom * height))
        columns = slice(round(self.left * width), round(self.right * width))
        return x[:, :, rows, columns]


@dataclass
class Conductor:
    """What all norms of a network are to do; one object, shared by them.

    `gathering` names the norm that collects moments of its input and then stops the forward pass;
    None lets all norms pass. `watching` has every norm collect moments while passing.
    """

    window: Window = field(default_factory=Window)
    gathering: "SharedNorm | None" = None
    watching: bool = False
    order: list["SharedNorm"] = field(default_factory=list)  # as a forward pass meets them


class SharedNorm(nn.Module):
    """Stands in for an instance norm (or a batch norm that uses the batch's statistics).

    Without frozen statistics it takes those of its input, and remembers them.
    """

    def __init__(self, norm: nn.Module, conductor: Conductor):
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps
        self.conductor = conductor
        self.moments = Moments()
        self.mean: Tensor | None = None
        self.var: Tensor | None = None

    def forget(self) -> None:
        self.moments, self.mean, self.var = Moments(), None, None

    def freeze(self) -> None:
        """From now on, the statistics that were collected."""
        self.mean, self.var = self.moments.mean.float(), self.moments.var.float()
        self.moments = Moments()

    def extrapolate(self, coarse: Moments, further: float) -> None:
        """What is frozen goes on by `further` times the way it came from `coarse`."""
        mean, var = coarse.mean.float(), coarse.var.float()
        self.mean = self.mean + further * (self.mean - mean)
        # As a power: a variance stays positive.
        self.var = self.var * ((self.var + self.eps) / (var + self.eps)) ** further

    def drift(self) -> float:
        """How far what was watched is from what was frozen, in standard deviations (0: not)."""
        spread = self.moments.var.clamp_min(self.eps).sqrt()
        shift = (self.moments.mean - self.mean.double()) / spread
        stretch = (self.var.double() + self.eps).sqrt() / (spread.square() + self.eps).sqrt() - 1
        return float((shift.square() + stretch.square()).mean().sqrt())

    def forward(self, x: Tensor) -> Tensor:
        conductor = self.conductor
        if self.mean is None and conductor.gathering is None:
            conductor.order.append(self)
            self.moments = Moments()
            self.moments.add(x.float())
            mean, var = self.moments.mean.float(), self.moments.var.float()
            return batch_norm(x, mean, var, self.weight, self.bias, eps=self.eps)
        if conductor.gathering is self or conductor.watching:
            self.moments.add(conductor.window.of(x).float())
        if conductor.gathering is self:
            raise Reached
        return batch_norm(x, self.mean, self.var, self.weight, self.bias, eps=self.eps)


def needs_sharing(module: nn.Module) -> bool:
    """Whether a norm takes its statistics from the image it is given."""
    if isinstance(module, SeesOneImage) and module.own_statistics:
        return True
    if isinstance(module, _InstanceNorm | _BatchNorm):
        return module.training or not module.track_running_stats
    return False


def share_norms(net: nn.Module) -> tuple[nn.Module, Conductor]:
    """A copy of `net` with `SharedNorm`s, and what conducts them; weights are not copied."""
    conductor = Conductor()
    tensors = [*net.parameters(), *net.buffers()]
    net = copy.deepcopy(net, {id(t): t for t in tensors})
    replaced: dict[nn.Module, SharedNorm] = {}
    for parent in list(net.modules()):
        for name, child in parent._modules.items():  # named_children leaves out second names
            if needs_sharing(child):
                if child not in replaced:
                    replaced[child] = SharedNorm(child, conductor)
                setattr(parent, name, replaced[child])
    return net, conductor


def shared_norms(net: nn.Module) -> list[SharedNorm]:
    return [module for module in net.modules() if isinstance(module, SharedNorm)]


@torch.no_grad()
def order_of_norms(net: nn.Module, conductor: Conductor, probe: Tensor) -> list[SharedNorm]:
    """The norms in the order in which a forward pass on `probe` meets them.

    Raises ValueError when one is met twice: its two inputs would share statistics.
    """
    conductor.order.clear()
    net(probe)
    order = list(conductor.order)
    if len(set(order)) != len(order):
        raise ValueError("a norm is used twice in one forward pass")
    for norm in order:
        norm.forget()
    return order
