"""The loop. It knows phases, micro-batches and progress; it knows no paper."""

import hashlib
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import torch

from largegan.errors import ConfigError
from largegan.health.observer import Observer
from largegan.health.steps import BufferGuard, StepCounter
from largegan.parallel import watch
from largegan.parallel.engine import Engine
from largegan.recipe import Batch, Phase, Progress, Recipe, StepReport, Terms


class MicroBatches(Protocol):
    """Where micro-batches come from; the position is a few integers."""

    @property
    def skipped(self) -> dict[str, int]:
        """Samples and shards that were unusable so far, by kind."""

    def next_batch(self) -> list[Batch]: ...

    def close(self) -> None:
        """Ends readers that run beside training."""

    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> None: ...


class Replays(Protocol):
    """Computes micro-batches by recordings of them: see `run.replays`."""

    def __call__(
        self,
        phase: Phase,
        index: int,
        number: int,
        batch: Batch,
        at: Progress,
        step: Callable[[Batch, Progress], Terms],
    ) -> Terms: ...


@dataclass
class Tally:
    """What happened since the last log line, kept on the device until somebody looks."""

    sums: dict[str, torch.Tensor | float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, value: torch.Tensor | float) -> None:
        self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.counts[name] = self.counts.get(name, 0) + 1

    def spend(self, name: str, seconds: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def means(self) -> dict[str, float]:
        return {name: float(total) / self.counts[name] for name, total in self.sums.items()}


class Trainer:
    """Runs a recipe's phases on an engine, and says what it saw.

    Args:
        recipe: players, phases and losses.
        engine: already set up for this recipe.
        stream: yields this rank's micro-batches of each global batch.
        to_device: turns a micro-batch of the stream into what losses expect.
        batch_size: images per optimizer step over all ranks and micro-batches.
        micro_batch_size: images per forward; `batch_size` is a multiple of it times the ranks.
        seed: everything random is a function of it and of progress.
        precision: "bf16" autocasts first-order phases.
        max_grad_norm: clips each player's gradient; None for never.
        max_bad_steps: non-finite steps of one phase in a row that stop the run.
        first_order: what losses that are differentiated once are computed in, such as compiled
            networks.
        replays: repeats losses and gradients without Python, where it can; None: nothing is.
    """

    def __init__(
        self,
        recipe: Recipe,
        engine: Engine,
        stream: MicroBatches,
        *,
        to_device: Callable[[Batch, torch.device], Batch],
        batch_size: int,
        micro_batch_size: int,
        seed: int = 0,
        precision: str = "fp32",
        max_grad_norm: float | None = None,
        max_bad_steps: int = 10,
        first_order: Callable[[], AbstractContextManager] = nullcontext,
        replays: Replays | None = None,
    ):
        self.recipe, self.engine, self.stream, self.to_device = recipe, engine, stream, to_device
        self.batch_size, self.micro_batches = batch_size, batch_size // micro_batch_size
        self.seed, self.precision, self.max_grad_norm = seed, precision, max_grad_norm
        self.first_order, self.replays = first_order, replays
        recipe.set_batch_size(batch_size)
        recipe.begin_training(engine.device)
        self.at = Progress()
        self.bad_steps = StepCounter(max_bad_steps)
        self.guard = BufferGuard(recipe)
        self.tally = Tally()
        self.events: list[dict] = []
        self.observer: Observer | None = None  # adds up signals, where somebody wants them
        check_phases(recipe)

    def iteration(self) -> None:
        """Every phase that is due, in order; then what the recipe does once per iteration."""
        micro: list[Batch] | None = None
        for index, phase in enumerate(self.recipe.phases):
            if not phase.due(self.at):
                continue
            for turn in range(phase.repeat):
                if phase.fresh or micro is None:
                    micro = self.next_micro_batches()
                self.run_phase(phase, micro, (index, turn))
        self.at = Progress(self.at.step + 1, self.at.nimg + self.batch_size)
        with self.engine.after_iteration():
            self.recipe.after_iteration(self.at, self.batch_size)

    def next_micro_batches(self) -> list[Batch]:
        """This rank's micro-batches of the next global batch, on the device."""
        start = time.perf_counter()
        watch.at(f"reading data for step {self.at.step}")
        micro = self.stream.next_batch()
        check_batch(self.recipe, micro[0])
        waited = time.perf_counter()
        micro = [self.to_device(batch, self.engine.device) for batch in micro]
        self.tally.spend("data", waited - start)
        return micro

    def run_phase(self, phase: Phase, micro: list[Batch], turn: tuple[int, int]) -> StepReport:
        """One optimizer step of one player: freeze the others, accumulate, reduce, step."""
        start = time.perf_counter()
        engine = self.engine
        watch.at(f"{phase.name} of step {self.at.step}")
        engine.begin(
            phase.player,
            second_order=phase.second_order,
            averages=phase.averages,
            others=phase.others,
        )
        self.guard.remember()
        totals: dict[str, torch.Tensor] = {}
        watched: dict[str, torch.Tensor] = {}
        # A lazy phase weighs its interval; micro-batches and ranks add up to one mean.
        scale = phase.every / self.micro_batches
        for i, batch in enumerate(micro):
            self.recipe.set_accumulating(i > 0)
            self.recipe.micro_batch = engine.rank + i * engine.world
            self.reseed(*turn, self.recipe.micro_batch)
            step = partial(self.differentiate, phase, scale, i == len(micro) - 1)
            if self.replays:
                terms = self.replays(phase, turn[0], i, batch, self.at, step)
            else:
                terms = step(batch, self.at)
            add_up(totals, terms)
            add_up(watched, self.recipe.take_watched())
            if self.observer:
                self.observer.hear(phase, self.at)
        report = engine.finish(
            phase.player, self.at, terms=totals, max_grad_norm=self.max_grad_norm
        )
        self.conclude(phase, report)
        if self.observer:
            self.observer.keep(phase, report)
        if report.finite:
            for name, value in (totals | watched).items():
                self.tally.add(f"{phase.name}/{name}", value / len(micro))
            self.tally.add(f"{phase.name}/grad_norm", report.grad_norm)
        # Honest on a GPU too: the check in `finish` waited for the backward pass.
        self.tally.spend(phase.name, time.perf_counter() - start)
        return report

    def differentiate(
        self, phase: Phase, scale: float, last: bool, batch: Batch, at: Progress
    ) -> Terms:
        """The loss of one micro-batch and its gradients; returns its terms, without graphs."""
        with self.autocast(phase), nullcontext() if phase.second_order else self.first_order():
            terms = phase.loss(batch, at)
            loss: torch.Tensor = sum(terms.values())  # type: ignore[assignment]  # never empty
        self.engine.backward(loss * scale, last=last)
        return {name: value.detach() for name, value in terms.items()}

    def conclude(self, phase: Phase, report: StepReport) -> None:
        """After a good step, averages and the recipe's `after`; after a bad one, only a count."""
        if report.finite:
            self.recipe.absorb_pending()
            if phase.after:
                with self.engine.editing(phase.player):
                    phase.after()
        else:
            self.guard.restore()
        event = self.bad_steps.note(phase, report, self.at)
        if event:
            self.events.append(event)
            self.bad_steps.stop_if_hopeless(phase, report, self.at)

    def reseed(self, phase: int, turn: int, micro: int) -> None:
        """The micro-batch is the unit of randomness: who computes it does not matter."""
        key = struct.pack("<5q", self.seed, phase, turn, self.at.step, micro)
        digest = hashlib.blake2b(key, digest_size=8).digest()
        value = int.from_bytes(digest, "little") >> 1
        # Not torch.manual_seed: on a CUDA build it costs half a millisecond without a GPU.
        torch.default_generator.manual_seed(value)
        if self.engine.device.type != "cpu":
            torch.get_device_module(self.engine.device).manual_seed(value)

    def autocast(self, phase: Phase):
        """bf16 for first-order phases; penalties differentiate twice and stay in float32."""
        if self.precision != "bf16" or phase.second_order:
            return nullcontext()
        return torch.autocast(self.engine.device.type, torch.bfloat16)

    def run(self, total_nimg: int) -> Iterator[Progress]:
        """Iterates until `total_nimg` images, yielding after each iteration."""
        while self.at.nimg < total_nimg:
            self.iteration()
            yield self.at

    def crossed(self, every_nimg: int, *, in_the_last: int | None = None) -> bool:
        """Whether the last iteration, or so many images, crossed a multiple of `every_nimg`.

        A function of progress, so that a resumed run does the same at the same time.
        """
        now, last = self.at.nimg, self.batch_size if in_the_last is None else in_the_last
        return now // every_nimg > (now - last) // every_nimg

    def state_dict(self) -> dict:
        """Progress, data position and counters: JSON, the same on every rank."""
        return {
            "step": self.at.step,
            "nimg": self.at.nimg,
            "data": self.stream.state_dict(),
            "bad_steps": self.bad_steps.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        self.at = Progress(state["step"], state["nimg"])
        self.stream.load_state_dict(state["data"])
        self.bad_steps.load_state_dict(state["bad_steps"])


def add_up(totals: dict[str, torch.Tensor], values: dict[str, torch.Tensor]) -> None:
    """Adds scalars by name."""
    for name, value in values.items():
        totals[name] = totals[name] + value if name in totals else value


def check_phases(recipe: Recipe) -> None:
    """Refuses a recipe whose phases and players do not fit together, before the first step."""
    for phase in recipe.phases:
        for player in (phase.player, *(phase.others or ())):
            if player not in recipe.players:
                raise ConfigError(
                    f"phase {phase.name} names player {player!r}, but the recipe has "
                    f"{', '.join(recipe.players)}"
                )
        if phase.every < 1 or phase.repeat < 1:
            raise ConfigError(f"phase {phase.name}: every and repeat must be at least 1")


def check_batch(recipe: Recipe, batch: Batch) -> None:
    """Refuses data of another kind than the recipe's: numbers for images, or images for numbers."""
    missing = [name for name in recipe.reads if name not in batch]
    if missing:
        raise ConfigError(
            f"recipe {type(recipe).__name__} trains on {', '.join(recipe.reads)}, but the data "
            f"have {', '.join(batch)}; choose another data.path"
        )


def micro_batch_size(batch_size: int, wanted: int | None, world: int) -> int:
    """The images of one forward pass. Raises `ConfigError` when ranks cannot share the batch."""
    if batch_size % world:
        raise ConfigError(
            f"train.batch_size {batch_size} cannot be shared by {world} processes; make it a "
            f"multiple of {world}"
        )
    size = wanted or batch_size // world
    if batch_size % (size * world):
        raise ConfigError(
            f"train.batch_size {batch_size} is {batch_size / size:g} micro-batches of {size}, "
            f"which {world} processes cannot share; use a train.micro_batch_size that divides "
            f"{batch_size // world}"
        )
    return size
