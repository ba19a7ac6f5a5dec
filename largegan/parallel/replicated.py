"""The default engine: every rank holds all weights; gradients meet in one reduction per phase.

Exact for second-order phases and for networks called through their submodules, because nothing
wraps the networks: they are plain modules, and the reduction only looks at `parameter.grad`.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from largegan.parallel.collective import mean_over_ranks
from largegan.parallel.engine import StepReport
from largegan.parallel.launch import World, contact
from largegan.recipe import Progress, Recipe

BUCKET_BYTES = 25 * 2**20


class Replicated:
    """See `Engine`. `world` says who we are; one process needs no process group."""

    def __init__(self, world: World):
        self.rank, self.world, self.device = world.rank, world.size, world.device

    def setup(self, recipe: Recipe) -> None:
        """Moves the recipe to the device, makes ranks start alike, builds the optimizers."""
        # channels_last: convolutions run in it without reordering, on a GPU and on a CPU.
        self.recipe = recipe.to(self.device, memory_format=torch.channels_last)
        if self.world > 1:
            for tensor in recipe.state_dict().values():
                shared = tensor.contiguous()  # what travels is rows, whatever the memory format
                with contact():
                    dist.broadcast(shared, src=0)
                tensor.copy_(shared)
            recipe.join_ranks(mean_over_ranks, self.world)
        self.params = {name: list(player.parameters()) for name, player in recipe.players.items()}
        self.optimizers = {
            name: player.make_optimizer(iter(self.params[name]))
            for name, player in recipe.players.items()
        }
        self._names = {p: name for name, p in recipe.named_parameters()}

    def begin(self, player: str, *, second_order: bool) -> None:
        """Only the phase's player learns: everyone else is frozen and builds no graph."""
        for name, params in self.params.items():
            for p in params:
                p.requires_grad_(name == player)
        self.optimizers[player].zero_grad(set_to_none=True)

    def backward(self, loss: Tensor, *, last: bool) -> None:
        loss.backward()

    @torch.no_grad()
    def finish(
        self, player: str, at: Progress, *, terms: dict[str, Tensor], max_grad_norm: float | None
    ) -> StepReport:
        """One reduction, one check, one step. `terms` are this rank's summed loss terms."""
        params = self.params[player]
        for p in params:
            # Ranks and engines must agree on what is reduced; a missing gradient is a zero.
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        grads = [p.grad for p in params]
        verdict = torch.stack([t.float() for t in terms.values()]).sum()
        if self.world > 1:
            # The verdict travels with the gradients, so that all ranks skip or step alike; so
            # does what layers added up over this rank's part of the batch.
            verdict = verdict.reshape(1)
            pending = [m.pending for m in self.recipe.modules() if hasattr(m, "pending")]
            all_reduce_sum([*grads, verdict, *pending])
            self._average_batch_statistics()
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        with contact():  # on a GPU, this is where the ranks wait for each other
            grad_norm, verdict_sum = torch.stack([norm, verdict.reshape(())]).tolist()
        if not (_finite(grad_norm) and _finite(verdict_sum)):
            return StepReport(False, grad_norm, self._culprit(player, terms))
        if max_grad_norm is not None and grad_norm > max_grad_norm:
            torch._foreach_mul_(grads, max_grad_norm / grad_norm)
        optimizer = self.optimizers[player]
        for group in optimizer.param_groups:
            group.update(self.recipe.players[player].schedule(at))
        optimizer.step()
        return StepReport(True, grad_norm)

    def mean(self, values: Tensor) -> Tensor:
        """The mean over ranks of a small tensor, such as logged losses."""
        if self.world > 1:
            with contact():
                dist.all_reduce(values)
            values /= self.world
        return values

    def model_state(self) -> dict[str, Tensor]:
        """Everything the recipe registers, under its own names."""
        return self.recipe.state_dict()

    def load_model_state(self, state: dict[str, Tensor]) -> None:
        """Restores every registered tensor; a module with two names is in files under its first."""
        first: dict[int, str] = {}
        for name, tensor in self.recipe.state_dict().items():
            shared = first.setdefault(tensor.data_ptr(), name)
            if name not in state and shared in state:
                state = state | {name: state[shared]}
        self.recipe.load_state_dict(state)

    def optimizer_state(self) -> dict[str, Tensor]:
        """Optimizer tensors under `player/parameter/field`: portable between engines and sizes."""
        state = {}
        for player, optimizer in self.optimizers.items():
            for p, fields in optimizer.state.items():
                for field, value in fields.items():
                    if value is not None:  # SGD without momentum
                        state[f"{player}/{self._names[p]}/{field}"] = torch.as_tensor(value)
        return state

    def load_optimizer_state(self, state: dict[str, Tensor]) -> None:
        for player, optimizer in self.optimizers.items():
            fields: dict[str, dict[str, Tensor]] = {}
            for key, value in state.items():
                owner, name, field = key.split("/")
                if owner == player:
                    fields.setdefault(name, {})[field] = value
            packed = optimizer.state_dict()
            packed["state"] = {
                i: {k: _laid_out_like(p, v) for k, v in fields[self._names[p]].items()}
                for i, p in enumerate(self.params[player])
                if self._names[p] in fields
            }
            # load_state_dict, not assignment: it knows which fields stay on the host.
            optimizer.load_state_dict(packed)

    def _average_batch_statistics(self) -> None:
        """Batch norm's running statistics saw only this rank's images: all take the mean."""
        statistics = [
            buffer
            for module in self.recipe.modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
            for buffer in (module.running_mean, module.running_var)
            if buffer is not None
        ]
        if statistics:
            all_reduce_sum(statistics)
            torch._foreach_div_(statistics, self.world)

    def _culprit(self, player: str, terms: dict[str, Tensor]) -> str:
        """The first tensor, in the order of computation, that explains a skipped step."""
        for name, term in terms.items():
            if not bool(term.isfinite().all()):
                return f"loss term {name!r} = {float(term):g}"
        for p in self.params[player]:
            if not bool(p.isfinite().all()):
                return f"parameter {self._names[p]}"
        for p in self.params[player]:
            if not bool(p.grad.isfinite().all()):
                return f"gradient of {self._names[p]}"
        if self.world > 1:
            return "a loss term on another rank, or the norm of the gradients (overflow)"
        return "the norm of the gradients (it overflowed; every single gradient is finite)"


def _laid_out_like(p: Tensor, value: Tensor) -> Tensor:
    """Moments in the memory format of their parameter: files hold them row by row."""
    return torch.empty_like(p).copy_(value) if value.shape == p.shape else value


def _finite(x: float) -> bool:
    return x - x == 0.0


def all_reduce_sum(tensors: list[Tensor]) -> None:
    """Sums tensors over ranks in place, flattened into buckets so that small ones share a trip."""
    pending: list[tuple[dist.Work, Tensor, list[Tensor]]] = []
    bucket: list[Tensor] = []
    size = 0
    for i, tensor in enumerate(tensors):
        bucket.append(tensor)
        size += tensor.numel() * tensor.element_size()
        if size >= BUCKET_BYTES or i == len(tensors) - 1:
            flat = torch.cat([t.reshape(-1) for t in bucket])
            with contact():
                pending.append((dist.all_reduce(flat, async_op=True), flat, bucket))
            bucket, size = [], 0
    for work, flat, bucket in pending:
        with contact():
            work.wait()
        parts = flat.split([t.numel() for t in bucket])
        for tensor, part in zip(bucket, parts, strict=True):
            tensor.copy_(part.view_as(tensor))
