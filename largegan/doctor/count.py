"""A recipe's phases, run once on tensors without data: operations, FLOPs, bytes, activations.

Forward, backward and double backward are counted alike, operation by operation, as PyTorch runs
them one after the other; nothing is fused. No GPU and no memory is needed.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import conv_flop_count, flop_registry

from largegan.recipe import DataSpec, FollowsWeights, Phase, Player, Progress, Recipe

# Besides views: operations that move no bytes.
FREE = {"aten::_unsafe_view", "aten::empty", "aten::empty_like", "aten::new_empty"}


class Op(NamedTuple):
    name: str
    flops: int
    bytes: int  # read and written


class Counter(TorchDispatchMode):
    """Notes every operation that would run on a device."""

    def __init__(self):
        super().__init__()
        self.ops: list[Op] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            return 0.5 if args[0].dtype.is_floating_point else 1  # somebody asks for a number
        out = func(*args, **(kwargs or {}))
        name = func._schema.name
        if not func.is_view and name not in FREE:
            tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)]
            flops = flops_of(func, args, kwargs or {}, out)
            self.ops.append(Op(name, flops, sum(bytes_of(t) for t in tensors)))
        return out


def bytes_of(t: Tensor) -> int:
    """An expanded tensor is read from what it was expanded from."""
    return min(t.numel() * t.element_size(), t.untyped_storage().nbytes())


def flops_of(func, args, kwargs, out) -> int:
    """Of convolutions and matrix products; the others are bound by the bytes they move."""
    if func._schema.name == "largegan::conv":  # see ops/conv/operators.py
        x, w, *_, transposed, _, _ = args
        return conv_flop_count(x.shape, w.shape, out.shape, transposed=transposed)
    if func._schema.name == "largegan::conv_weight_gradient":
        dy, x, shape, *_, transposed, _, _ = args
        return conv_flop_count(x.shape, shape, dy.shape, transposed=transposed)
    formula = flop_registry.get(func.overloadpacket)
    return formula(*args, **kwargs, out_val=out) if formula else 0


class Numbers(TorchFunctionMode):
    """Gives code that looks into tensors something to see."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is Tensor.tolist and args[0].is_meta:
            return torch.zeros(args[0].shape, dtype=args[0].dtype, device="cpu").tolist()
        return func(*args, **(kwargs or {}))


@dataclass
class PhaseCount:
    """One micro-batch of one phase."""

    phase: Phase
    ops: list[Op]
    forward_ops: int  # so many of them run before the backward pass
    kept_bytes: int  # activations that wait for the backward pass
    rank_means: int  # means over ranks that batch norm takes, forward

    @property
    def flops(self) -> int:
        return sum(op.flops for op in self.ops)


@dataclass
class Count:
    """A recipe for one size of micro-batch."""

    micro_batch_size: int
    phases: list[PhaseCount]
    parameters: dict[str, int]  # by player
    moments: dict[str, int]  # optimizer tensors per parameter, by player
    averages: int  # parameters of averaged networks
    others: int = field(default=0)  # frozen networks and buffers
    followed: dict[str, int] = field(default_factory=dict)  # of `averages`, by player


def count(
    make: Callable[[], Recipe], data: DataSpec, *, micro_batch_size: int, world: int
) -> Count:
    """Builds the recipe without data and runs each phase once, as one of `world` ranks does."""
    with torch.device("meta"), without_autocast():
        recipe = make()
        means = RankMeans()
        if world > 1:
            recipe.join_ranks(means, world)
        recipe.set_batch_size(micro_batch_size * world)
        recipe.begin_training(torch.device("meta"))
        batch = example(recipe, data, micro_batch_size)
        phases = [count_phase(recipe, phase, batch, means) for phase in recipe.phases]
    parameters = {n: size(player.parameters()) for n, player in recipe.players.items()}
    averages = size(p for m in followers(recipe) for p in m.parameters())
    everything = size(recipe.parameters()) + size(recipe.buffers())
    return Count(
        micro_batch_size,
        phases,
        parameters,
        {name: moments_per_parameter(recipe, name) for name in recipe.players},
        averages,
        everything - sum(parameters.values()) - averages,
        {name: averages_of(recipe, player) for name, player in recipe.players.items()},
    )


def averages_of(recipe: Recipe, player: Player) -> int:
    """Parameters of the averages of a player's networks."""
    own = set(player.parameters())
    mine = [m for m in followers(recipe) if set(m.follows[0].parameters()) <= own]
    return size(p for m in mine for p in m.parameters())


def followers(recipe: Recipe) -> list[nn.Module]:
    """A recipe's averages."""
    return [m for m in recipe.modules() if isinstance(m, FollowsWeights)]


class RankMeans:
    """Stands in for the mean over ranks, and counts."""

    calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x.clone()


@contextmanager
def without_autocast() -> Iterator[None]:
    """Autocast knows no device without data: all is counted in float32, and halved later."""
    with (
        patch.object(torch, "autocast", lambda *_, **__: nullcontext()),
        patch.object(torch, "is_autocast_enabled", lambda *_: False),
    ):
        yield


def example(recipe: Recipe, data: DataSpec, n: int) -> dict[str, Tensor]:
    """What the stream would give, without data."""
    channels = {"image_b": data.channels_b}
    batch = {
        name: torch.empty(n, channels.get(name, data.channels), data.height, data.width)
        for name in recipe.reads
        if name not in ("x", "label")
    }
    if "x" in recipe.reads:
        batch["x"] = torch.empty(n, 1)
    batch["label"] = torch.zeros(n, dtype=torch.int64)
    return batch


def count_phase(recipe: Recipe, phase: Phase, batch: dict, means: RankMeans) -> PhaseCount:
    for name, player in recipe.players.items():
        for p in player.parameters():
            p.requires_grad_(name == phase.player)
            p.grad = None
    kept, before = Kept(recipe), means.calls
    counter = Counter()
    with ExitStack() as stack:
        stack.enter_context(Numbers())
        stack.enter_context(counter)
        with torch.autograd.graph.saved_tensors_hooks(kept, lambda t: t):
            loss = sum(phase.loss(batch, Progress()).values())
        forward, rank_means = len(counter.ops), means.calls - before
        loss.backward()
    recipe.take_watched()
    return PhaseCount(phase, counter.ops, forward, sum(kept.sizes.values()), rank_means)


class Kept:
    """Sizes of what autograd keeps: weights aside, each storage once."""

    def __init__(self, recipe: Recipe):
        state = (*recipe.parameters(), *recipe.buffers())
        self.weights = {t.untyped_storage()._cdata for t in state}
        self.sizes: dict[int, int] = {}

    def __call__(self, t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage._cdata not in self.weights:
            self.sizes[storage._cdata] = storage.nbytes()
        return t


def size(tensors) -> int:
    return sum(t.numel() for t in tensors)


def moments_per_parameter(recipe: Recipe, player: str) -> int:
    """Tensors that the optimizer keeps for each parameter: Adam 2, RMSprop 1, plain SGD 0."""
    p = nn.Parameter(torch.zeros(2, 2))
    p.grad = torch.zeros(2, 2)
    optimizer = recipe.players[player].make_optimizer(iter([p]))
    optimizer.step()
    return sum(torch.is_tensor(v) and v.shape == p.shape for v in optimizer.state[p].values())
