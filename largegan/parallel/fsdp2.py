"""FSDP2: weights, gradients and moments of a player are cut over the ranks (torch fully_shard).

A player's weights are whole from the beginning of a phase to its end, whichever player moves, and
the networks stay plain modules: what torch shards are flat copies, and the networks' parameters
are windows onto them, empty between phases. So nothing hangs on how a recipe calls its networks.
Gathering at every call, as torch's hooks would, needs ranks that call alike, and they do not: with
style mixing one rank calls the mapping once where another calls it twice. Nor could weights be
read without a call, or gradients be differentiated again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from largegan.parallel.launch import World, contact
from largegan.parallel.moments import fields_of_weights
from largegan.parallel.pieces import Window, cut, gather, reduce_scatter_sum
from largegan.parallel.reduce import in_buckets, norm_over_ranks
from largegan.recipe import Recipe


class Bucket(nn.Module):
    """Weights of a player that travel together; what torch shards."""

    def __init__(self, params: list[nn.Parameter]):
        super().__init__()
        self.windows = [Window(p) for p in params]
        for i, window in enumerate(self.windows):
            self.register_parameter(str(i), nn.Parameter(window.flat().clone()))

    def open(self) -> None:
        """Shows copies: torch takes the memory of its own back, even where somebody still looks."""
        self.unshard()
        for window, flat in zip(self.windows, self.parameters(), strict=True):
            window.open(flat.clone())
        self.reshard()

    def close(self) -> None:
        for window in self.windows:
            window.close()


class FSDP2:
    """See `Share`."""

    name = "fsdp2"
    splits_weights = splits_moments = True
    recordable = False

    def __init__(self, recipe: Recipe, player: str, names: list[str], world: World):
        self.rank, self.world, self.device = world.rank, world.size, world.device
        self.index = {name: i for i, name in enumerate(names)}
        self.params = [recipe.get_parameter(name) for name in names]
        mesh = init_device_mesh(world.device.type, (world.size,))
        self.buckets = [fully_shard(Bucket(p), mesh=mesh) for p in in_buckets(self.params)]
        self.windows = [window for bucket in self.buckets for window in bucket.windows]
        # What the optimizer steps: this rank's pieces, in the memory that torch gathers from.
        cuts = [p for bucket in self.buckets for p in bucket.parameters()]
        self.stepped = [nn.Parameter(p.detach().to_local()) for p in cuts]
        make_optimizer = recipe.players[player].make_optimizer
        self.fields_of_weights = fields_of_weights(make_optimizer)
        self.optimizer = make_optimizer(iter(self.stepped))
        self.rest()

    def begin(self, *, moves: bool, second_order: bool) -> None:
        self._open()

    def backward(self, loss: Tensor, *, last: bool) -> None:
        loss.backward()

    def rest(self) -> None:
        for bucket in self.buckets:
            bucket.close()

    def reduce(self, extras: list[Tensor]) -> Tensor:
        pieces = iter(self.stepped)
        for bucket in self.buckets:  # one after the other: the whole gradients go on the way
            for gradient in reduce_scatter_sum([w.take_gradient() for w in bucket.windows]):
                next(pieces).grad = gradient
            bucket.close()
        return norm_over_ranks(self._gradients(), extras)

    def scale(self, factor: float) -> None:
        torch._foreach_mul_(self._gradients(), factor)

    def step(self) -> None:
        self.optimizer.step()
        self.skip()

    def skip(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def suspects(self) -> Iterator[tuple[str, Tensor]]:
        for name, i in self.index.items():
            yield f"parameter {name}", self.stepped[i]
        for name, i in self.index.items():
            yield f"gradient of {name}", self.stepped[i].grad

    @contextmanager
    def whole(self) -> Iterator[None]:
        self._open()
        try:
            yield
        finally:
            self.rest()

    def pieces(self) -> dict[nn.Parameter, Tensor]:
        return {p: piece.detach() for p, piece in zip(self.params, self.stepped, strict=True)}

    @contextmanager
    def editing(self) -> Iterator[None]:
        with self.whole():
            yield
            for piece, window in zip(self.stepped, self.windows, strict=True):
                piece.detach().copy_(cut(window.flat(), self.rank, self.world))

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        yield from self._whole([piece.detach() for piece in self.stepped])

    def load_weight(self, name: str, value: Tensor) -> None:
        self.stepped[self.index[name]].copy_(self._piece(name, value))

    def moments(self) -> Iterator[tuple[str, str, Tensor]]:
        state = [self.optimizer.state.get(piece, {}) for piece in self.stepped]
        for field, value in state[0].items():
            if value is None:
                continue  # as SGD without momentum keeps it
            if field in self.fields_of_weights:
                for name, whole in self._whole([fields[field] for fields in state]):
                    yield name, field, whole
            else:
                for name, fields in zip(self.index, state, strict=True):
                    yield name, field, torch.as_tensor(fields[field])

    def load_moments(self, state: dict[str, dict[str, Tensor]]) -> None:
        packed = self.optimizer.state_dict()
        packed["state"] = {
            i: {
                field: self._piece(name, value) if field in self.fields_of_weights else value
                for field, value in state[name].items()
            }
            for name, i in self.index.items()
            if name in state
        }
        self.optimizer.load_state_dict(packed)

    def _open(self) -> None:
        with contact():
            for bucket in self.buckets:
                bucket.open()

    def _gradients(self) -> list[Tensor]:
        return [piece.grad for piece in self.stepped]

    def _whole(self, pieces: list[Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Every parameter's whole tensor from this rank's pieces, a bucket at a time."""
        names, rest = iter(self.index), iter(pieces)
        for bucket in self.buckets:
            some = list(islice(rest, len(bucket.windows)))
            for tensor in gather(some, [window.form for window in bucket.windows]):
                yield next(names), tensor

    def _piece(self, name: str, value: Tensor) -> Tensor:
        """This rank's piece of a tensor that every rank has read: nothing travels."""
        flat = self.windows[self.index[name]].form.flat(value.to(self.device))
        return cut(flat, self.rank, self.world).clone()
