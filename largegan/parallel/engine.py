"""What the trainer talks to: gradients in, the same optimizer step on all ranks out.

The recipe keeps plain modules. How one player's weights, gradients and moments lie on the ranks is
its `Share`: `replicated.py`, `fsdp2.py` or `zero.py`, chosen per player by `choose.py`.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn, optim

from largegan.parallel.averages import cut_averages
from largegan.parallel.collective import mean_over_ranks
from largegan.parallel.launch import World, contact
from largegan.parallel.reduce import all_reduce_sum, in_buckets
from largegan.parallel.replicated import Replicated
from largegan.parallel.share import MakeShare, Share
from largegan.recipe import Progress, Recipe, StepReport, reads_averages_alone


class Engine:
    """Owns optimizers and everything distributed.

    Per phase the trainer calls `begin`, then `backward` once per micro-batch of this rank, then
    `finish`, which reduces, checks, clips, schedules and steps.

    Args:
        world: who we are; one process needs no process group.
        shares: how to make the share of each player; players that are not named are replicated.
    """

    def __init__(self, world: World, shares: Mapping[str, MakeShare] | None = None):
        self.rank, self.world, self.device = world.rank, world.size, world.device
        self._world, self._make = world, dict(shares or {})

    def setup(self, recipe: Recipe) -> None:
        """Moves the recipe to the device, makes ranks start alike, builds the shares."""
        # channels_last: convolutions run in it without reordering, on a GPU and on a CPU.
        self.recipe = recipe.to(self.device, memory_format=torch.channels_last)
        if self.world > 1:
            broadcast(recipe.state_dict())
            recipe.join_ranks(mean_over_ranks, self.world)
        self.layout, self._alias = describe(recipe)
        names = {p: name for name, p in recipe.named_parameters()}
        self.names = {
            name: [names[p] for p in player.parameters()] for name, player in recipe.players.items()
        }
        self.shares: dict[str, Share] = {
            name: self._make.get(name, Replicated)(recipe, name, self.names[name], self._world)
            for name in recipe.players
        }
        self._owner = {name: player for player, names in self.names.items() for name in names}
        cut, self._followed_whole = cut_averages(recipe, self.shares.values(), self._world)
        self.averages = {a: [names[window.parameter] for window in a.windows] for a in cut}

    @property
    def params(self) -> dict[str, list[nn.Parameter]]:
        return {name: share.params for name, share in self.shares.items()}

    @property
    def optimizers(self) -> dict[str, optim.Optimizer]:
        return {name: share.optimizer for name, share in self.shares.items()}

    def begin(
        self,
        player: str,
        *,
        second_order: bool,
        averages: bool = False,
        others: Collection[str] | None = None,
    ) -> None:
        """Only the phase's player learns: everyone else is frozen and builds no graph.

        Until `finish` its weights can be read, those of `others` (None: of all), and with
        `averages` averaged networks, too.
        """
        for name, share in self.shares.items():
            for p in share.params:
                p.requires_grad_(name == player)
        self._moving = self.shares[player]
        for name, share in self.shares.items():
            if others is None or name == player or name in others:
                share.begin(moves=name == player, second_order=second_order)
        for average in self.averages if averages else ():
            average.open()

    def backward(self, loss: Tensor, *, last: bool) -> None:
        self._moving.backward(loss, last=last)

    @torch.no_grad()
    def finish(
        self, player: str, at: Progress, *, terms: dict[str, Tensor], max_grad_norm: float | None
    ) -> StepReport:
        """One reduction, one check, one step. `terms` are this rank's summed loss terms."""
        share = self.shares[player]
        for other in self.shares.values():
            if other is not share:
                other.rest()
        for average in self.averages:
            average.close()
        # The verdict travels with the gradients, so that all ranks skip or step alike; so does
        # what layers added up over this rank's part of the batch.
        verdict = torch.stack([t.float() for t in terms.values()]).sum().reshape(1)
        norm = share.reduce([verdict, *self.recipe.pending()])
        if self.world > 1:
            self._average_batch_statistics()
        with contact():  # on a GPU, this is where the ranks wait for each other
            grad_norm, verdict_sum = torch.stack([norm, verdict.reshape(())]).tolist()
        if not (_finite(grad_norm) and _finite(verdict_sum)):
            culprit = self._culprit(share, terms)
            share.skip()
            return StepReport(False, grad_norm, culprit)
        if max_grad_norm is not None and grad_norm > max_grad_norm:
            share.scale(max_grad_norm / grad_norm)
        for group in share.optimizer.param_groups:
            group.update(self.recipe.players[player].schedule(at))
        share.step()
        return StepReport(True, grad_norm)

    def __str__(self) -> str:
        """For people: "engine zero1", or "engines G fsdp2, D replicated"."""
        names = {player: share.name for player, share in self.shares.items()}
        if len(set(names.values())) == 1:
            return f"engine {next(iter(names.values()))}"
        return "engines " + ", ".join(f"{player} {name}" for player, name in names.items())

    @contextmanager
    def weights(self) -> Iterator[None]:
        """Within it every weight can be read on its module, on every rank."""
        with ExitStack() as stack:
            for share in self.shares.values():
                stack.enter_context(share.whole())
            yield

    @contextmanager
    def after_iteration(self) -> Iterator[None]:
        """Within it the recipe's `after_iteration` can read the weights that it needs."""
        alone = reads_averages_alone(self.recipe.after_iteration)
        with ExitStack() as stack:
            for share in self.shares.values():
                if not alone or self._followed_whole & set(share.params):
                    stack.enter_context(share.whole())
            yield

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Within it averages can be read, too: for pictures and scores."""
        with self.weights():
            for average in self.averages:
                average.open()
            try:
                yield
            finally:
                for average in self.averages:
                    average.close()

    def editing(self, player: str) -> AbstractContextManager[None]:
        """Within it a recipe may change weights of `player`, such as by clipping them."""
        return self.shares[player].editing()

    def mean(self, values: Tensor) -> Tensor:
        """The mean over ranks of a small tensor, such as logged losses."""
        if self.world > 1:
            with contact():
                dist.all_reduce(values)
            values /= self.world
        return values

    def model_state(self) -> dict[str, Tensor]:
        """Everything the recipe registers, each tensor whole and once, under its first name.

        All ranks take part. Tensors that no rank holds whole are gathered onto the host of rank 0
        only.
        """
        live = self.recipe.state_dict()
        state = {name: live[name] for name in self.layout}
        for share in self.shares.values():
            if share.splits_weights:
                for name, weight in share.weights():
                    self._keep(state, name, weight)
        for average, names in self.averages.items():
            for name, value in zip(names, average.values(), strict=True):
                self._keep(state, name, value)
        return state

    @torch.no_grad()
    def load_model_state(self, state: dict[str, Tensor]) -> None:
        """Restores every registered tensor; a module with two names is in files under its first."""
        live = self.recipe.state_dict()
        state = {self._alias.get(name, name): value for name, value in state.items()}
        cut = {
            name: (average, number)
            for average, names in self.averages.items()
            for number, name in enumerate(names)
        }
        for name in self.layout:
            if name not in state:
                raise RuntimeError(f"no tensor {name} in the state to load")
            if name in cut:
                average, number = cut[name]
                average.load(number, state[name])
            elif name in self._owner:
                self.shares[self._owner[name]].load_weight(name, state[name])
            else:
                live[name].copy_(state[name])

    def optimizer_state(self) -> dict[str, Tensor]:
        """Optimizer tensors under `player/parameter/field`: portable between engines and sizes.

        All ranks take part; where they share the moments out, only rank 0 gets them, on its host.
        """
        state: dict[str, Tensor] = {}
        for player, share in self.shares.items():
            for name, field, value in share.moments():
                if share.splits_moments:
                    self._keep(state, f"{player}/{name}/{field}", value)
                else:
                    state[f"{player}/{name}/{field}"] = value
        return state

    def _keep(self, state: dict[str, Tensor], name: str, gathered: Tensor) -> None:
        """On the host of rank 0; nowhere else."""
        if self.rank == 0:
            state[name] = gathered.to("cpu")
        else:
            state.pop(name, None)

    @torch.no_grad()
    def load_optimizer_state(self, state: dict[str, Tensor]) -> None:
        fields: dict[str, dict[str, dict[str, Tensor]]] = {player: {} for player in self.shares}
        for key, value in state.items():
            player, name, field = key.split("/")
            fields[player].setdefault(name, {})[field] = value
        for player, share in self.shares.items():
            share.load_moments(fields[player])

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

    def _culprit(self, share: Share, terms: dict[str, Tensor]) -> str:
        """The first tensor, in the order of computation, that explains a skipped step."""
        for name, term in terms.items():
            if not bool(term.isfinite().all()):
                return f"loss term {name!r} = {float(term):g}"
        for what, tensor in share.suspects():
            if not bool(tensor.isfinite().all()):
                return what
        if self.world > 1:
            return "a loss term on another rank, or the norm of the gradients (overflow)"
        return "the norm of the gradients (it overflowed; every single gradient is finite)"


def broadcast(state: dict[str, Tensor]) -> None:
    """Everybody starts with rank 0's tensors."""
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for tensor in state.values():
        by_type.setdefault(tensor.dtype, []).append(tensor)
    for bucket in (bucket for some in by_type.values() for bucket in in_buckets(some)):
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
        with contact():
            dist.broadcast(flat, src=0)
        for tensor, part in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
            tensor.copy_(part.view(tensor.shape))


def describe(recipe: Recipe) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Every registered tensor once, without data; and the first name of every name."""
    first: dict[tuple, str] = {}
    layout, alias = {}, {}
    for name, tensor in recipe.state_dict().items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride()) if tensor.numel() else (name,)
        alias[name] = first.setdefault(key, name)
        if alias[name] == name:
            layout[name] = torch.empty_like(tensor, device="meta")
    return layout, alias


def _finite(x: float) -> bool:
    return x - x == 0.0
