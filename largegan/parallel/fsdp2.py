"""FSDP2: weights, gradients and moments of a player are cut over the ranks (torch fully_shard).

A block's weights are whole only while it computes. Phases that differentiate through a gradient
keep them whole from the first forward to the end of the phase: torch would free them after the
inner backward, which the outer one still needs. Averages (EMA) are whole on every rank.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from largegan.parallel.launch import World, contact
from largegan.parallel.reduce import all_reduce_sum
from largegan.recipe import Recipe


class FSDP2:
    """See `Share`."""

    name = "fsdp2"
    splits_weights = True

    def __init__(self, recipe: Recipe, player: str, names: list[str], world: World):
        self.world, self.device = world.size, world.device
        self.roots = recipe.players[player].nets
        mesh = init_device_mesh(world.device.type, (world.size,))
        for net in self.roots:
            shard(net, mesh)
        # Sharding puts new parameters on the modules, under the old names.
        self.by_name = {name: recipe.get_parameter(name) for name in names}
        self.params = list(self.by_name.values())
        self.optimizer = recipe.players[player].make_optimizer(iter(self.params))

    def begin(self, *, moves: bool, second_order: bool) -> None:
        if moves:
            self.optimizer.zero_grad(set_to_none=True)
        # Of all players: the phase may differentiate twice through one that is frozen.
        self._free_after_use(not second_order)

    def backward(self, loss: Tensor, *, last: bool) -> None:
        # torch takes the mean over ranks, and the trainer's losses want the sum.
        with contact():
            (loss * self.world).backward()

    def rest(self) -> None:
        for module in self._units():
            module.reshard()

    def reduce(self, extras: list[Tensor]) -> Tensor:
        for p in self.params:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        norms = torch._foreach_norm([p.grad.to_local() for p in self.params])
        squares = torch.stack(norms).square().sum()
        all_reduce_sum([*extras, squares])
        return squares.sqrt()

    def scale(self, factor: float) -> None:
        torch._foreach_mul_([p.grad.to_local() for p in self.params], factor)

    def step(self) -> None:
        self.optimizer.step()

    def skip(self) -> None:
        pass

    def suspects(self) -> Iterator[tuple[str, Tensor]]:
        for name, p in self.by_name.items():
            yield f"parameter {name}", p.to_local()
        for name, p in self.by_name.items():
            yield f"gradient of {name}", p.grad.to_local()

    @contextmanager
    def whole(self) -> Iterator[None]:
        self._free_after_use(False)
        with contact():
            for module in self._units():
                module.unshard()
        try:
            yield
        finally:
            self.rest()

    @contextmanager
    def editing(self) -> Iterator[None]:
        yield  # each rank edits its part

    def weight(self, name: str) -> Tensor:
        return whole(self.by_name[name].detach())

    def load_weight(self, name: str, value: Tensor) -> None:
        self.by_name[name].copy_(self._part(value, self.by_name[name]))

    def moments(self, name: str) -> dict[str, Tensor]:
        fields = self.optimizer.state.get(self.by_name[name], {})
        return {k: whole(torch.as_tensor(v)).cpu() for k, v in fields.items() if v is not None}

    def load_moments(self, state: dict[str, dict[str, Tensor]]) -> None:
        packed = self.optimizer.state_dict()
        packed["state"] = {
            i: {k: self._part(v, p) if v.shape == p.shape else v for k, v in state[name].items()}
            for i, (name, p) in enumerate(self.by_name.items())
            if name in state
        }
        self.optimizer.load_state_dict(packed)

    def _part(self, value: Tensor, like: DTensor) -> DTensor:
        """This rank's part of a tensor that every rank has read: nothing travels."""
        value = value.to(self.device).contiguous()
        return distribute_tensor(value, like.device_mesh, like.placements, src_data_rank=None)

    def _units(self) -> Iterator[FSDPModule]:
        for net in self.roots:
            for module in net.modules():
                if isinstance(module, FSDPModule):
                    yield module

    def _free_after_use(self, free: bool) -> None:
        for net in self.roots:
            net.set_reshard_after_forward(free)
            net.set_reshard_after_backward(free)


def shard(net: nn.Module, mesh) -> None:
    """Cuts a network into units that are gathered one at a time; see `units`."""
    for p in net.parameters():
        p.data = p.data.contiguous()  # torch cuts along rows, and refuses channels_last
    for module in units(net):
        module.register_forward_hook(own_output)  # before torch's own hook
        fully_shard(module, mesh=mesh)
    # Now, with all weights trainable, and from the root: otherwise the first module that is
    # called (G.mapping, say) becomes the root, and the real one is refused.
    net._get_fsdp_state()._lazy_init()


def own_output(module: nn.Module, inputs: tuple, output: object) -> object:
    """A view (`x.squeeze(1)`) becomes a tensor of its own.

    Torch hangs what gathers weights for backward on the output, and loses it in silence when
    somebody changes a view in place (it warns of that, once for every network and rank).
    """
    return output.clone() if torch.is_tensor(output) and output._is_view() else output


def units(net: nn.Module) -> list[nn.Module]:
    """Blocks, then parts, then the rest: entries of module lists and composite children.

    So nets can be called through their parts (`G.mapping`). What lies directly on the net, such
    as a last layer, belongs to the net itself and is there when the net is called.
    """
    blocks = [b for m in net.modules() if isinstance(m, nn.ModuleList) for b in m]
    parts = [m for m in net.children() if any(True for _ in m.children())]
    found = {id(m): m for m in (net, *parts, *blocks) if is_unit(m)}
    # Inner ones first: torch gives a module what its inner units have not taken.
    return [m for m in net.modules() if id(m) in found][::-1]


def is_unit(module: nn.Module) -> bool:
    containers = (nn.ModuleList, nn.ModuleDict)
    return not isinstance(module, containers) and any(True for _ in module.parameters())


def whole(tensor: Tensor) -> Tensor:
    if not isinstance(tensor, DTensor):
        return tensor
    with contact():
        return tensor.full_tensor()
