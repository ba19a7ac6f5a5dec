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

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from largegan.parallel.launch import World, contact
from largegan.parallel.moments import fields_of_weights
from largegan.parallel.pieces import Window, cut, gather, reduce_scatter_sum
from largegan.parallel.reduce import all_reduce_sum, in_buckets
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
    splits_weights = True

    def __init__(self, recipe: Recipe, player: str, names: list[str], world: World):
        self.rank, self.world, self.device = world.rank, world.size, world.device
        self.index = {name: i for i, name in enumerate(names)}
        self.params = [recipe.get_parameter(name) for name in names]
        mesh = init_device_mesh(world.device.type, (world.size,))
        self.buckets = [fully_shard(Bucket(p), mesh=mesh) for p in in_buckets(self.params)]
        self.windows = [window for bucket in self.buckets for window in bucket.windows]
        # What the optimizer steps: this rank's pieces, in the memory that torch gathers from.
        cuts = [p for bucket in self.buckets for p in bucket.parameters()]
        self.pieces = [nn.Parameter(p.detach().to_local()) for p in cuts]
        make_optimizer = recipe.players[player].make_optimizer
        self.fields_of_weights = fields_of_weights(make_optimizer)
        self.optimizer = make_optimizer(iter(self.pieces))
        self.rest()

    def begin(self, *, moves: bool, second_order: bool) -> None:
        if moves:
            self.optimizer.zero_grad(set_to_none=True)
        self._open()

    def backward(self, loss: Tensor, *, last: bool) -> None:
        loss.backward()

    def rest(self) -> None:
        for bucket in self.buckets:
            bucket.close()

    def reduce(self, extras: list[Tensor]) -> Tensor:
        pieces = iter(self.pieces)
        for bucket in self.buckets:  # one after the other: the whole gradients go on the way
            for gradient in reduce_scatter_sum([w.take_gradient() for w in bucket.windows]):
                next(pieces).grad = gradient
            bucket.close()
        squares = torch.stack(torch._foreach_norm(self._gradients())).square().sum()
        all_reduce_sum([*extras, squares])
        return squares.sqrt()

    def scale(self, factor: float) -> None:
        torch._foreach_mul_(self._gradients(), factor)

    def step(self) -> None:
        self.optimizer.step()

    def skip(self) -> None:
        pass

    def suspects(self) -> Iterator[tuple[str, Tensor]]:
        for name, i in self.index.items():
            yield f"parameter {name}", self.pieces[i]
        for name, i in self.index.items():
            yield f"gradient of {name}", self.pieces[i].grad

    @contextmanager
    def whole(self) -> Iterator[None]:
        self._open()
        try:
            yield
        finally:
            self.rest()

    @contextmanager
    def editing(self) -> Iterator[None]:
        with self.whole():
            yield
            for piece, window in zip(self.pieces, self.windows, strict=True):
                piece.detach().copy_(cut(window.flat(), self.rank, self.world))

    def weight(self, name: str) -> Tensor:
        return self._whole(name, self.pieces[self.index[name]].detach())

    def load_weight(self, name: str, value: Tensor) -> None:
        self.pieces[self.index[name]].copy_(self._piece(name, value))

    def moments(self, name: str) -> dict[str, Tensor]:
        found = {}
        for field, value in self.optimizer.state.get(self.pieces[self.index[name]], {}).items():
            if field in self.fields_of_weights:
                found[field] = self._whole(name, value).cpu()
            elif value is not None:
                found[field] = torch.as_tensor(value).cpu()
        return found

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
        return [piece.grad for piece in self.pieces]

    def _whole(self, name: str, piece: Tensor) -> Tensor:
        return gather([piece], [self.windows[self.index[name]].form])[0]

    def _piece(self, name: str, value: Tensor) -> Tensor:
        """This rank's piece of a tensor that every rank has read: nothing travels."""
        flat = self.windows[self.index[name]].form.flat(value.to(self.device))
        return cut(flat, self.rank, self.world).clone()
