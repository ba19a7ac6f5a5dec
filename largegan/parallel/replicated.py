"""The default: every rank holds all weights; gradients meet in one reduction per phase.

Exact for second-order phases and for networks called through their submodules, because nothing
wraps the networks: they are plain modules, and the reduction only looks at `parameter.grad`.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from largegan.parallel.launch import World
from largegan.parallel.reduce import BUCKET_BYTES, GradientReduction
from largegan.recipe import Recipe


class Replicated:
    """See `Share`."""

    name = "replicated"
    splits_weights = splits_moments = False

    def __init__(
        self,
        recipe: Recipe,
        player: str,
        names: list[str],
        world: World,
        *,
        overlap: bool = True,
        bucket_bytes: int = BUCKET_BYTES,
    ):
        self.names, self.windows = names, []
        self.params = [recipe.get_parameter(name) for name in names]
        self.optimizer = recipe.players[player].make_optimizer(iter(self.params))
        self.by_name = dict(zip(names, self.params, strict=True))
        self.reduction = None
        if world.size > 1:
            self.reduction = GradientReduction(
                self.params, overlap=overlap, bucket_bytes=bucket_bytes
            )

    @property
    def recordable(self) -> bool:
        return self.reduction is None or not self.reduction.overlap

    def begin(self, *, moves: bool, second_order: bool) -> None:
        if moves:
            self.skip()  # of a backward pass that nobody stepped
            if self.reduction:
                self.reduction.begin(second_order=second_order)

    def backward(self, loss: Tensor, *, last: bool) -> None:
        if not (last and self.reduction):
            loss.backward()
            return
        self.reduction.arm()
        loss.backward()
        self.reduction.disarm()

    def rest(self) -> None:
        pass

    def reduce(self, extras: list[Tensor]) -> Tensor:
        if self.reduction:
            self.reduction.finish(extras)
        for p in self.params:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        norms = torch._foreach_norm([p.grad for p in self.params])
        return torch.linalg.vector_norm(torch.stack(norms))

    def scale(self, factor: float) -> None:
        torch._foreach_mul_([p.grad for p in self.params], factor)

    def step(self) -> None:
        self.optimizer.step()
        self.skip()

    def skip(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def suspects(self) -> Iterator[tuple[str, Tensor]]:
        for name, p in self.by_name.items():
            yield f"parameter {name}", p
        for name, p in self.by_name.items():
            yield f"gradient of {name}", p.grad

    def whole(self) -> AbstractContextManager[None]:
        return nullcontext()

    def editing(self) -> AbstractContextManager[None]:
        return nullcontext()

    def pieces(self) -> dict[nn.Parameter, Tensor]:
        raise NotImplementedError("nothing is cut")

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        for name, p in self.by_name.items():
            yield name, p.detach()

    def load_weight(self, name: str, value: Tensor) -> None:
        self.by_name[name].copy_(value)

    def moments(self) -> Iterator[tuple[str, str, Tensor]]:
        for name, p in self.by_name.items():
            for field, value in self.optimizer.state.get(p, {}).items():
                if value is not None:  # as SGD without momentum keeps it
                    yield name, field, torch.as_tensor(value)

    def load_moments(self, state: dict[str, dict[str, Tensor]]) -> None:
        packed = self.optimizer.state_dict()
        packed["state"] = {
            i: {k: _laid_out_like(p, v) for k, v in state[name].items()}
            for i, (name, p) in enumerate(self.by_name.items())
            if name in state
        }
        # load_state_dict, not assignment: it knows which fields stay on the host.
        self.optimizer.load_state_dict(packed)


def _laid_out_like(p: Tensor, value: Tensor) -> Tensor:
    """Moments in the memory format of their parameter: files hold them row by row."""
    return torch.empty_like(p).copy_(value) if value.shape == p.shape else value
