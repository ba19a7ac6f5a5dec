"""`train.cuda_graphs`: losses and gradients recorded once as CUDA graphs, then replayed.

Small networks wait for the processor that launches their kernels one by one; a recording launches
all of them at once. It repeats what the GPU did, and nothing that Python did besides. So a phase is
recorded only if what it does on the processor is the same every time, which is watched, and if the
recording twice gives what the phase itself gives, which is compared; others stay as they are, and
the run says why.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from largegan.errors import ConfigError, EnvironmentFault
from largegan.parallel.engine import Engine
from largegan.recipe import Batch, Phase, Progress, Recipe, Said, Terms, WaitsForResults

Slot = tuple[Tensor, Callable[[Progress], float]]
Step = Callable[[Batch, Progress], Terms]  # one micro-batch's loss and gradients
Record = Callable[[Callable[[], None]], Callable[[], None]]  # something that ran; how to repeat it

WARM = 2  # runs in which kernels are chosen and loaded, and networks are compiled
PROOFS = 2
CLOSE = 0.02  # of a tensor's norm: sums on a GPU come in any order, and bfloat16 has 8 bits


class Replays:
    """Phases of a recipe on one GPU, each recorded when it has run often enough.

    Args:
        recipe: in training.
        record: how something is recorded; another one in tests.
        tell: says a line to the user.
    """

    def __init__(self, recipe: Recipe, record: Record, tell: Callable[[str], None]):
        self.recipe, self.record, self.tell = recipe, record, tell
        self.parts: dict[tuple[int, int], Part] = {}

    def __call__(
        self, phase: Phase, index: int, number: int, batch: Batch, at: Progress, step: Step
    ) -> Terms:
        """`step` of micro-batch `number` of the recipe's phase `index`, or what repeats it."""
        part = self.parts.get((index, number))
        if part is None:
            part = self.parts[index, number] = Part(self, phase, number)
        before = self.parts[index, number - 1] if number else None
        if before and before.reason:
            part.reason = before.reason  # it adds to gradients that lie elsewhere each time
        return part(batch, at, step)


class Part:
    """One micro-batch of a phase, and its recording."""

    def __init__(self, replays: Replays, phase: Phase, number: int):
        self.replays, self.phase, self.number = replays, phase, number
        self.params = list(replays.recipe.players[phase.player].parameters())
        self.runs = self.waits = 0
        self.reason: str | None = None  # it is not recorded for
        self.recording: Recording | None = None
        self.scheduled: list[Tensor] = []  # what its loss gets of `Progress.scheduled`, in order

    def __call__(self, batch: Batch, at: Progress, step: Step) -> Terms:
        self.runs += 1
        if self.reason or self.runs <= WARM:
            return step(batch, at)
        if self.runs == WARM + 1:
            return self.watched(batch, at, step)
        if self.runs <= WARM + 1 + PROOFS:
            return self.proved(batch, at, step)
        assert self.recording is not None
        if self.recording.fits(batch):
            return self.replay(self.recording, batch, at)
        return step(batch, at)

    def watched(self, batch: Batch, at: Progress, step: Step) -> Terms:
        """Runs it, and looks at what a recording would not repeat."""
        asked, kept = self.progress(at), loose_tensors(self.replays.recipe)
        drawn = processor_rng(self.params[0].device)
        with synchronizations() as waits:
            terms = step(batch, asked)
        self.scheduled = [tensor for tensor, _ in asked.slots]
        if asked.asked:
            self.refuse("it depends on how far training has come")
        elif not torch.equal(drawn, processor_rng(self.params[0].device)):
            self.refuse("it draws random numbers on the processor")
        elif waits and self.waits == 0:
            self.waits += 1  # for a constant that is copied once, maybe: looks again
            self.runs -= 1
        elif waits:
            self.refuse(f"it waits for the GPU ({waits[0]})")
        else:
            now = loose_tensors(self.replays.recipe)
            moved = [name for name in now if now[name] != kept.get(name)]
            if moved:
                self.refuse(f"{moved[0]} is another tensor afterwards")
        return terms

    def proved(self, batch: Batch, at: Progress, step: Step) -> Terms:
        """Runs it, records it if it is not yet, replays it, and compares."""
        recipe = self.replays.recipe
        given, before = dict(batch), State(recipe, self.params)
        forget_said(recipe)
        terms = step(batch, at)
        plain = Outcome(terms, recipe.said(), State(recipe, self.params))
        left = changed(before.plain, plain.state.plain)
        before.restore()
        batch.clear()
        batch.update(given)
        if self.recording is None:
            try:
                self.recording = self.recorded(batch, at, step)
            except RuntimeError as e:
                self.check_device()
                self.refuse(f"recording it failed: {str(e).splitlines()[0]}")
            before.restore()
        if self.recording is not None:
            terms = self.replay(self.recording, batch, at)
            if not plain.finite():
                self.runs -= 1  # which proves nothing; the step will be skipped
                return terms
            again = Outcome(terms, recipe.said(), State(recipe, self.params))
            difference = plain.difference(again)
            if left != self.recording.left:
                difference = f"{', '.join(name for _, name in left)} (numbers on modules)"
            if difference is None:
                if self.runs == WARM + 1 + PROOFS and self.number == 0:
                    self.replays.tell(f"{self.phase.name} is replayed as a CUDA graph from now on")
                return terms
            self.refuse(f"its recording gives another {difference}")
            self.recording = None
            before.restore()
        batch.clear()
        batch.update(given)
        return step(batch, at)

    def recorded(self, batch: Batch, at: Progress, step: Step) -> "Recording":
        """Of the step on tensors of its own, into which later batches are copied."""
        recipe = self.replays.recipe
        recording = Recording({n: value.clone() for n, value in batch.items()}, self.params)
        plain = plain_values(recipe)

        def run() -> None:
            recording.batch = dict(recording.inputs)
            forget_said(recipe)
            progress = self.progress(at)
            recording.terms = step(recording.batch, progress)
            recording.slots = progress.slots

        recording.repeat = self.replays.record(run)
        recording.said = recipe.said()
        recording.gradients = [p.grad for p in self.params]
        recording.left = changed(plain, plain_values(recipe))
        return recording

    def progress(self, at: Progress) -> "RecordedProgress":
        return RecordedProgress(at, self.scheduled, self.params[0].device)

    def replay(self, recording: "Recording", batch: Batch, at: Progress) -> Terms:
        terms = recording(batch, at)
        forget_said(self.replays.recipe)
        self.replays.recipe.say(recording.said)
        return terms

    def refuse(self, reason: str) -> None:
        self.reason = reason
        if self.number == 0:
            self.replays.tell(f"{self.phase.name} is not recorded as a CUDA graph: {reason}")

    def check_device(self) -> None:
        """Raises EnvironmentFault when a recording that failed has left the GPU unusable."""
        try:
            torch.rand(1, device=self.params[0].device)
        except RuntimeError as e:
            raise EnvironmentFault(
                f"phase {self.phase.name} cannot be recorded as a CUDA graph "
                f"({str(e).splitlines()[0]}); leave train.cuda_graphs out"
            ) from e


@dataclass
class Recording:
    """What a replay reads and writes: always the same memory."""

    inputs: Batch
    params: list[nn.Parameter]
    repeat: Callable[[], None] = lambda: None
    batch: Batch = field(default_factory=dict)  # the inputs, and what the loss leaves beside them
    terms: Terms = field(default_factory=dict)
    said: Said = field(default_factory=Said)
    gradients: list[Tensor | None] = field(default_factory=list)
    left: "Plain" = field(default_factory=dict)
    slots: "list[Slot]" = field(default_factory=list)

    def fits(self, batch: Batch) -> bool:
        return batch.keys() == self.inputs.keys() and all(
            value.shape == self.inputs[name].shape and value.dtype == self.inputs[name].dtype
            for name, value in batch.items()
        )

    def __call__(self, batch: Batch, at: Progress) -> Terms:
        for tensor, value in self.slots:
            tensor.fill_(value(at))
        for name, value in self.inputs.items():
            value.copy_(batch[name])
        self.repeat()
        for p, gradient in zip(self.params, self.gradients, strict=True):
            p.grad = gradient
        for (module, name), value in self.left.items():
            setattr(module, name, value)
        # The next phase of the iteration may read them.
        batch.update({n: value for n, value in self.batch.items() if n not in self.inputs})
        return self.terms


class State:
    """What a step changes: buffers, gradients, flags, and where random numbers come from."""

    def __init__(self, recipe: Recipe, params: list[nn.Parameter]):
        self.buffers = {b: b.clone() for b in recipe.buffers()}
        self.gradients = [(p, p.grad, None if p.grad is None else p.grad.clone()) for p in params]
        self.device = params[0].device
        self.drawn = torch.get_rng_state(), device_rng(self.device)
        self.plain = plain_values(recipe)

    def restore(self) -> None:
        for buffer, value in self.buffers.items():
            buffer.copy_(value)
        for p, gradient, value in self.gradients:
            p.grad = gradient
            if gradient is not None:
                gradient.copy_(value)
        for (module, name), value in self.plain.items():
            setattr(module, name, value)
        torch.set_rng_state(self.drawn[0])
        if self.drawn[1] is not None:
            torch.get_device_module(self.device).set_rng_state(self.drawn[1], self.device)


def forget_said(recipe: Recipe) -> None:
    """What phases before have said, and nobody asked for."""
    recipe.take_watched()
    recipe.take_scored()


def processor_rng(device: torch.device) -> Tensor:
    """Of draws besides those of the device; a CPU has no others."""
    return torch.zeros(0) if device.type == "cpu" else torch.get_rng_state()


def device_rng(device: torch.device) -> Tensor | None:
    if device.type == "cpu":
        return None
    return torch.get_device_module(device).get_rng_state(device)


class Outcome:
    """All that a step gave."""

    def __init__(self, terms: Terms, said: Said, state: State):
        self.state = state
        self.values = {f"loss term {name!r}": value.clone() for name, value in terms.items()}
        self.values |= {f"value {name!r}": value.clone() for name, value in said.watched.items()}
        for by, scored in said.scored.items():
            both = torch.cat([scored.real.flatten(), scored.fake.flatten()])
            self.values[f"score of {by}"] = both.clone()
        gradients = [value.flatten() for _, _, value in state.gradients if value is not None]
        self.values["gradient"] = torch.cat(gradients)
        for number, value in enumerate(state.buffers.values()):
            if value.is_floating_point():
                self.values[f"buffer {number}"] = value
        self.missing = [value is None for _, _, value in state.gradients]

    def finite(self) -> bool:
        return all(bool(value.isfinite().all()) for value in self.values.values())

    def difference(self, other: "Outcome") -> str | None:
        """What differs by more than order and rounding do."""
        if self.values.keys() != other.values.keys() or self.missing != other.missing:
            return "set of values"
        for name, value in self.values.items():
            size = float(torch.linalg.vector_norm(value.double()))
            apart = float(torch.linalg.vector_norm(value.double() - other.values[name].double()))
            if not apart <= CLOSE * size + 1e-6:
                return name
        return None


class RecordedProgress(Progress):
    """Progress for a loss that is recorded: scheduled numbers are tensors, filled before a replay.

    It remembers that somebody looked at it otherwise.
    """

    def __init__(self, at: Progress, tensors: list[Tensor], device: torch.device):
        super().__init__(at.step, at.nimg)
        given = {"asked": False, "slots": [], "plain": at, "tensors": tensors, "device": device}
        for name, value in given.items():
            object.__setattr__(self, name, value)

    def __getattribute__(self, name: str):
        if name in ("step", "nimg"):
            object.__setattr__(self, "asked", True)
        return super().__getattribute__(name)

    def scheduled(self, value: Callable[[Progress], float]) -> Tensor:
        number = len(self.slots)
        if number < len(self.tensors):
            tensor = self.tensors[number]
        else:
            tensor = torch.full((), value(self.plain), device=self.device)
        self.slots.append((tensor, value))
        return tensor


Plain = dict[tuple[nn.Module, str], object]


def changed(before: Plain, after: Plain) -> Plain:
    return {key: value for key, value in after.items() if value != before.get(key)}


def plain_values(recipe: Recipe) -> Plain:
    """Numbers and flags on modules: what a loss may leave there besides tensors."""
    return {
        (module, name): value
        for module in recipe.modules()
        for name, value in vars(module).items()
        if value is None or isinstance(value, bool | int | float | str)
    }


def loose_tensors(recipe: Recipe) -> dict[str, int]:
    """Tensors on modules that are neither weights nor buffers, and buffers, by identity."""
    loose = {
        f"{title}.{name}": id(value)
        for title, module in recipe.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, Tensor)
    }
    return loose | {name: id(value) for name, value in recipe.named_buffers()}


@contextmanager
def synchronizations() -> Iterator[list[str]]:
    """Where the processor waits for the GPU within it."""
    found: list[str] = []
    if not torch.cuda.is_available():
        yield found
        return
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield found
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    places = [w for w in caught if "synchronizing" in str(w.message)]
    found += [f"{Path(w.filename).name}, line {w.lineno}" for w in places]


class OnGPU:
    """Records as CUDA graphs, which share one pool of memory: they run one after the other."""

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, run: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.empty_cache()  # of the runs before: a recording has memory of its own
        # Not "global": threads that read data may pin memory meanwhile.
        with torch.cuda.graph(graph, pool=self.pool, capture_error_mode="thread_local"):
            run()
        return graph.replay


def make_replays(engine: Engine, tell: Callable[[str], None]) -> Replays:
    """Raises ConfigError where nothing can be recorded."""
    if engine.device.type != "cuda":
        raise ConfigError(
            f"train.cuda_graphs needs a GPU, and this run is on {engine.device.type}; leave it out"
        )
    for player, share in engine.shares.items():
        if not share.recordable:
            raise ConfigError(
                f"train.cuda_graphs cannot record collectives of player {player} (engine "
                f"{share.name}); use parallel.engine replicated, on several processes with "
                "parallel.overlap false, or leave train.cuda_graphs out"
            )
    for module in engine.recipe.modules():
        if isinstance(module, WaitsForResults):
            module.waits = False
    return Replays(engine.recipe, OnGPU(), tell)
