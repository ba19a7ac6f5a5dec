"""ZeRO-1, 2 and 3 through DeepSpeed, one DeepSpeed engine per player.

Losses call plain modules inside `coalesce_grad_reduction()`: calling the DeepSpeed engine instead
raises or is silently wrong as soon as gradients of one player flow through another. Stage 1 cuts
moments over the ranks, 2 gradients too, 3 weights too; ZeRO-3 cannot differentiate through a
gradient, which `choose.py` refuses. Weights are float32; autocast is the trainer's.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn

from largegan.parallel.launch import World, contact
from largegan.parallel.reduce import all_reduce_sum
from largegan.recipe import Recipe

SETTINGS = {
    "train_micro_batch_size_per_gpu": 1,  # for its logs only: the trainer cuts the batch
    "gradient_accumulation_steps": 1,
    # Spelled out, for since 0.19.3 the default is 1.0: it would change every GAN in silence.
    "gradient_clipping": 0.0,
    "zero_allow_untested_optimizer": True,
    "zero_force_ds_cpu_optimizer": False,
    "steps_per_print": None,
}


class Zero:
    """See `Share`. `settings` is what a DeepSpeed JSON says; `stage` wins over its stage."""

    def __init__(
        self,
        recipe: Recipe,
        player: str,
        names: list[str],
        world: World,
        *,
        stage: int,
        settings: dict | None = None,
    ):
        self.rank, self.world, self.stage = world.rank, world.size, stage
        self.name, self.splits_weights = f"zero{stage}", stage == 3
        self.by_name = {name: recipe.get_parameter(name) for name in names}
        self.params = list(self.by_name.values())
        for p in self.params:
            p.data = rows(p)  # it is going to be a piece of one flat tensor
        nets = recipe.players[player].nets
        optimizer = recipe.players[player].make_optimizer(iter(self.params))
        self.engine = initialize(
            nets[0] if len(nets) == 1 else nn.ModuleList(nets), optimizer, stage, settings or {}
        )
        self.zero = self.engine.optimizer  # DeepSpeed's; it holds `optimizer` over flat tensors
        self.optimizer = self.zero.optimizer
        self.coalesced = nullcontext()

    def begin(self, *, moves: bool, second_order: bool) -> None:
        if moves:
            self.zero.zero_grad()
            self.coalesced = self.engine.coalesce_grad_reduction()
            self.coalesced.__enter__()

    def backward(self, loss: Tensor, *, last: bool) -> None:
        # DeepSpeed takes the mean over ranks, and the trainer's losses want the sum.
        (loss * self.world).backward()

    def rest(self) -> None:
        pass

    def reduce(self, extras: list[Tensor]) -> Tensor:
        if self.stage < 3:  # stage 3 keeps zeros for what has no gradient
            for p in self.params:
                if p.grad is None:
                    p.grad = torch.zeros_like(p)
        with contact():
            self.coalesced.__exit__(None, None, None)
        squares = torch.stack(torch._foreach_norm(self._gradients())).square().sum()
        all_reduce_sum([*extras, squares])
        return squares.sqrt()

    def scale(self, factor: float) -> None:
        torch._foreach_mul_(self._gradients(), factor)

    def step(self) -> None:
        with contact():
            self.engine.step()

    def skip(self) -> None:
        # DeepSpeed skips a step, and tidies up, when it finds a gradient that is not finite. Here
        # the reason may be a loss term, or another rank's gradient.
        self._gradients()[0].fill_(torch.nan)
        self.step()

    def suspects(self) -> Iterator[tuple[str, Tensor]]:
        for gradient in self._gradients():
            yield "a gradient (ZeRO no longer knows of which parameter)", gradient

    @contextmanager
    def whole(self) -> Iterator[None]:
        with self._gathered(self.params):
            yield

    @contextmanager
    def editing(self) -> Iterator[None]:
        yield
        for p in self.params:  # stages 1 and 2 step copies of the weights
            if p._hp_mapping is not None:
                p._hp_mapping.update_hp()

    def weight(self, name: str) -> Tensor:
        p = self.by_name[name]
        with self._gathered([p]):
            return p.detach().clone() if self.splits_weights else p.detach()

    def load_weight(self, name: str, value: Tensor) -> None:
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_local_fp32_param

        p = self.by_name[name].requires_grad_(True)  # or DeepSpeed does nothing, and says nothing
        value = value.to(self.zero.device)
        if self.stage == 3:
            safe_set_local_fp32_param(p, self._part(p, value))
            p.ds_tensor.copy_(self._part(p, value))
        else:
            p.copy_(value)
            safe_set_full_fp32_param(p, value)

    def moments(self, name: str) -> dict[str, Tensor]:
        from deepspeed.utils import safe_get_full_optimizer_state

        p = self.by_name[name].requires_grad_(True)
        flat = self._flats()[0]
        found = {}
        for field, value in self.optimizer.state.get(flat, {}).items():
            if not torch.is_tensor(value) or value.shape != flat.shape:
                found[field] = torch.as_tensor(value).clone()  # one counter for all parameters
                continue
            with contact():
                found[field] = safe_get_full_optimizer_state(p, field).cpu()
        return found

    def load_moments(self, state: dict[str, dict[str, Tensor]]) -> None:
        from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

        self.optimizer.state.clear()
        if not state:
            return
        self._make_room(next(iter(state.items())))
        for name, fields in state.items():
            p = self.by_name[name].requires_grad_(True)
            for field, value in fields.items():
                if value.numel() != 1 or value.shape == self._shape(p):
                    value = value.to(self.zero.device)
                    if self.stage == 3:
                        safe_set_local_optimizer_state(p, self._part(p, value), field)
                    else:
                        safe_set_full_optimizer_state(p, value, field)

    def _make_room(self, example: tuple[str, dict[str, Tensor]]) -> None:
        """Optimizer state as the first step would make it, over the flat tensors."""
        name, fields = example
        shape = self._shape(self.by_name[name])
        for flat in self._flats():
            self.optimizer.state[flat] = {
                field: torch.zeros_like(flat) if value.shape == shape else value.clone()
                for field, value in fields.items()
            }
        if self.stage < 3:
            self.zero._hp_optimizer_states_linked = False
            self.zero._lazy_init_hp_params_optimizer_state()

    def _flats(self) -> list[Tensor]:
        """This rank's part of everything, as the optimizer sees it."""
        if self.stage == 3:
            return self.zero.fp32_partitioned_groups_flat
        return self.zero.single_partition_of_fp32_groups

    def _gradients(self) -> list[Tensor]:
        return [g for group in self.zero.averaged_gradients.values() for g in group]

    def _gathered(self, params: list[nn.Parameter]):
        if self.stage < 3:
            return nullcontext()
        import deepspeed

        return deepspeed.zero.GatheredParameters(params)

    def _shape(self, p: nn.Parameter) -> torch.Size:
        return p.ds_shape if self.stage == 3 else p.shape

    def _part(self, p: nn.Parameter, value: Tensor) -> Tensor:
        """This rank's part of a whole tensor under ZeRO-3; the last one is padded with zeros."""
        size = p.ds_tensor.numel()
        mine = value.flatten()[size * self.rank : size * (self.rank + 1)]
        return nn.functional.pad(mine, (0, size - mine.numel()))


def rows(p: Tensor) -> Tensor:
    """A copy laid out row by row, in every dimension: DeepSpeed looks at bare strides."""
    return p.detach().clone(memory_format=torch.contiguous_format)


def initialize(net: nn.Module, optimizer: torch.optim.Optimizer, stage: int, settings: dict):
    """A DeepSpeed engine for one player."""
    import deepspeed

    if not torch.cuda.is_available():
        # It would be compiled now, for minutes; a killed start leaves a lock that hangs the next.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist.get_backend(), verbose=False, auto_mpi_discovery=False)
    zero = {**settings.get("zero_optimization", {}), "stage": stage}
    if stage == 3:
        # Alternating players never complete the trace that keeping small weights relies on.
        zero.setdefault("stage3_param_persistence_threshold", 0)
    config = {**SETTINGS, **settings, **SETTINGS, "zero_optimization": zero}
    engine, *_ = deepspeed.initialize(model=net, optimizer=optimizer, config=config)
    return engine
