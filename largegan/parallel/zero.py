"""ZeRO-1, 2 and 3 through DeepSpeed, one DeepSpeed engine per player.

DeepSpeed holds flat copies of a player's weights, and the networks' parameters are windows onto
them (`pieces.Window`): it sees no shapes, hangs no hooks on networks, and takes part in no
backward. Gradients are handed over once per phase, and the whole phase is one reduction
(`coalesce_grad_reduction`). So nothing depends on how a recipe calls its networks or how often it
differentiates. Stage 1 cuts moments over the ranks, 2 gradients too, 3 weights too: those are
whole from the beginning of a phase to its end. Weights are float32; autocast is the trainer's.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
import torch.distributed as dist
from torch import Tensor, nn

from largegan.parallel.launch import World, contact
from largegan.parallel.moments import fields_of_weights
from largegan.parallel.pieces import Window, span
from largegan.parallel.reduce import BUCKET_BYTES, norm_over_ranks
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

    splits_moments, recordable = True, False

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
        self.params = [recipe.get_parameter(name) for name in names]
        self.windows = [Window(p) for p in self.params]
        self.by_name = dict(zip(names, self.windows, strict=True))
        self.flats = {name: nn.Parameter(w.flat().clone()) for name, w in self.by_name.items()}
        make_optimizer = recipe.players[player].make_optimizer
        self.fields_of_weights = fields_of_weights(make_optimizer)
        self.engine = initialize(
            nn.ParameterList(self.flats.values()),
            make_optimizer(iter(self.flats.values())),
            stage,
            settings or {},
        )
        self.zero = self.engine.optimizer  # DeepSpeed's; it holds the player's over flat tensors
        self.optimizer = self.zero.optimizer
        self.gathered = self.coalesced = nullcontext()
        self.rest() if self.splits_weights else self._open()

    def begin(self, *, moves: bool, second_order: bool) -> None:
        if self.splits_weights:
            self._open()
        if moves:
            self.zero.zero_grad()
            for p in self.params:
                p.grad = None
            self.coalesced = self.engine.coalesce_grad_reduction()
            self.coalesced.__enter__()

    def backward(self, loss: Tensor, *, last: bool) -> None:
        # DeepSpeed takes the mean over ranks, and the trainer's losses want the sum.
        (loss * self.world).backward()

    def rest(self) -> None:
        if self.splits_weights:
            for window in self.windows:
                window.close()
            self.gathered.__exit__(None, None, None)
            self.gathered = nullcontext()

    def reduce(self, extras: list[Tensor]) -> Tensor:
        for name, window in self.by_name.items():
            self.flats[name].grad = window.take_gradient()
        with contact():
            self.coalesced.__exit__(None, None, None)
        self.rest()
        return norm_over_ranks(self._gradients(), extras)

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
        if self.splits_weights:
            self._open()
        try:
            yield
        finally:
            self.rest()

    def pieces(self) -> dict[nn.Parameter, Tensor]:
        found = {}
        for p, flat, window in zip(self.params, self.flats.values(), self.windows, strict=True):
            start, stop = span(window.form.numel, self.rank, self.world)
            found[p] = flat.ds_tensor.data[: stop - start]  # without DeepSpeed's padding
        return found

    @contextmanager
    def editing(self) -> Iterator[None]:
        with self.whole():
            yield
            for name, window in self.by_name.items():  # what is stepped are copies of the weights
                if self.splits_weights:
                    self._load_piece(name, window.flat())
                elif self.flats[name]._hp_mapping is not None:
                    self.flats[name]._hp_mapping.update_hp()

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        with self.whole():
            for name, p in zip(self.by_name, self.params, strict=True):
                yield name, p.detach().clone()  # DeepSpeed takes the memory back

    def load_weight(self, name: str, value: Tensor) -> None:
        from deepspeed.utils import safe_set_full_fp32_param

        flat = self.by_name[name].form.flat(value.to(self.zero.device))
        if self.splits_weights:
            self._load_piece(name, flat)
        else:
            self.flats[name].copy_(flat)
            safe_set_full_fp32_param(self.flats[name], flat)

    def moments(self) -> Iterator[tuple[str, str, Tensor]]:
        from deepspeed.utils import safe_get_full_optimizer_state

        kept = self.optimizer.state.get(self._stepped()[0], {})
        kept = {field: value for field, value in kept.items() if value is not None}
        if kept:
            self._link()
        for field, value in kept.items():
            for name, window in self.by_name.items():
                if field in self.fields_of_weights:
                    with contact():
                        flat = safe_get_full_optimizer_state(self.flats[name], field)
                    yield name, field, window.form.view(flat)
                else:
                    yield name, field, torch.as_tensor(value).clone()  # one counter for all

    def load_moments(self, state: dict[str, dict[str, Tensor]]) -> None:
        from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

        self.optimizer.state.clear()
        if not state:
            return
        self._make_room(next(iter(state.values())))
        for name, fields in state.items():
            for field in self.fields_of_weights & fields.keys():
                value = self.by_name[name].form.flat(fields[field].to(self.zero.device))
                if self.splits_weights:
                    value = self._piece(name, value)
                    safe_set_local_optimizer_state(self.flats[name], value, field)
                else:
                    safe_set_full_optimizer_state(self.flats[name], value, field)

    def _make_room(self, example: dict[str, Tensor]) -> None:
        """Optimizer state as the first step would make it, over what is stepped."""
        fused = any(group.get("fused") for group in self.optimizer.param_groups)
        for flat in self._stepped():
            self.optimizer.state[flat] = {
                field: torch.zeros_like(flat)
                if field in self.fields_of_weights
                else value.to(flat.device if fused else "cpu", copy=True)
                for field, value in example.items()
            }
        self._link()

    def _link(self) -> None:
        """Tells DeepSpeed which fields there are now: a schedule may have begun momentum."""
        if not self.splits_weights:
            self.zero._hp_optimizer_states_linked = False
            self.zero._lazy_init_hp_params_optimizer_state()

    def _open(self) -> None:
        self.gathered = self._gathering(list(self.flats.values()))
        with contact():
            self.gathered.__enter__()
        for name, window in self.by_name.items():
            window.open(self.flats[name])

    def _gathering(self, flats: list[nn.Parameter]):
        if not self.splits_weights:
            return nullcontext()
        import deepspeed

        return deepspeed.zero.GatheredParameters(flats)

    def _stepped(self) -> list[Tensor]:
        """This rank's part of everything, as the optimizer sees it."""
        if self.splits_weights:
            return self.zero.fp32_partitioned_groups_flat
        return self.zero.single_partition_of_fp32_groups

    def _gradients(self) -> list[Tensor]:
        return [g for group in self.zero.averaged_gradients.values() for g in group]

    def _load_piece(self, name: str, flat: Tensor) -> None:
        from deepspeed.utils import safe_set_local_fp32_param

        piece = self._piece(name, flat)
        safe_set_local_fp32_param(self.flats[name], piece)
        self.flats[name].ds_tensor.copy_(piece)

    def _piece(self, name: str, flat: Tensor) -> Tensor:
        """This rank's part of a whole tensor under ZeRO-3; the last one is padded with zeros."""
        size = self.flats[name].ds_tensor.numel()
        mine = flat[size * self.rank : size * (self.rank + 1)]
        return nn.functional.pad(mine, (0, size - mine.numel()))


def initialize(net: nn.Module, optimizer: torch.optim.Optimizer, stage: int, settings: dict):
    """A DeepSpeed engine for one player."""
    import deepspeed

    if not torch.cuda.is_available():
        # It would be compiled now, for minutes; a killed start leaves a lock that hangs the next.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist.get_backend(), verbose=False, auto_mpi_discovery=False)
    zero = {**settings.get("zero_optimization", {}), "stage": stage}
    # DeepSpeed's own choice is 2 GB, which it takes for each player, however small.
    numbers = sum(p.numel() for p in net.parameters())
    zero.setdefault("reduce_bucket_size", max(1, min(numbers, BUCKET_BYTES // 4)))
    if stage == 3:
        # Weights come and go as this class says, never by a trace of calls.
        zero.setdefault("stage3_param_persistence_threshold", 0)
        zero["memory_efficient_linear"] = False  # it would replace torch's, for every network
    config = {**SETTINGS, **settings, **SETTINGS, "zero_optimization": zero}
    engine, *_ = deepspeed.initialize(model=net, optimizer=optimizer, config=config)
    return engine
