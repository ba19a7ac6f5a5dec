"""`train.cuda_graphs`: losses and gradients recorded once as CUDA graphs, then replayed.

Small networks wait for the processor that launches their kernels one by one; a recording launches
all of them at once. It repeats what the GPU did, and nothing that Python did besides. So a phase is
recorded only if what it does on the processor is the same every time, which is watched, and if the
recording twice gives what the phase itself gives, which is compared; others stay as they are, and
the run says why.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from largegan.errors import ConfigError, EnvironmentFault
from largegan.parallel.engine import Engine
from largegan.recipe import Batch, Phase, Progress, Recipe, Terms, WaitsForResults
from largegan.run.outcome import (
    Outcome,
    Plain,
    State,
    changed,
    loose_tensors,
    plain_values,
    processor_rng,
    synchronizations,
)
from largegan.run.recording import OnGPU, Record, RecordedProgress, Recording

Step = Callable[[Batch, Progress], Terms]  # one micro-batch's loss and gradients

WARM = 2  # runs in which kernels are chosen and loaded, and networks are compiled
PROOFS = 2  # runs in which the recording is compared


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
        if number:  # it adds to gradients, which lie in one place only once that part is replayed
            before = self.parts[index, number - 1]
            part.reason = part.reason or before.reason
            part.runs = min(part.runs, before.runs - 1)
        return part(batch, at, step)


class Part:
    """One micro-batch of a phase: it runs `WARM` times, is watched once, proved `PROOFS` times.

    From then on its recording is replayed, for batches that fit; or, with a `reason`, never.
    """

    def __init__(self, replays: Replays, phase: Phase, number: int):
        self.replays, self.phase, self.number = replays, phase, number
        self.params = list(replays.recipe.players[phase.player].parameters())
        self.runs = self.waits = 0  # `waits`: times that it waited for the GPU when watched
        self.reason: str | None = None  # why it is not recorded
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
        given, before = dict(batch), State(self.replays.recipe, self.params)

        def rewind() -> None:
            before.restore()
            batch.clear()
            batch.update(given)

        forget_said(self.replays.recipe)
        plain = self.outcome(step(batch, at))
        left = changed(before.plain, plain.state.plain)
        rewind()
        if self.recording is None:
            self.recording = self.try_recording(batch, at, step)
            before.restore()
        if self.recording is not None:
            terms = self.replay(self.recording, batch, at)
            if not plain.finite():
                self.runs -= 1  # which proves nothing; the step will be skipped
                return terms
            difference = self.difference(self.recording, plain, self.outcome(terms), left)
            if difference is None:
                self.tell_proved()
                return terms
            self.refuse(f"its recording gives another {difference}")
            self.recording = None
        rewind()
        return step(batch, at)

    def outcome(self, terms: Terms) -> Outcome:
        """What the step that gave `terms` has done."""
        recipe = self.replays.recipe
        return Outcome(terms, recipe.said(), State(recipe, self.params))

    def difference(
        self, recording: Recording, plain: Outcome, again: Outcome, left: Plain
    ) -> str | None:
        """What a replay does otherwise than the step, which leaves `left` on modules."""
        if left != recording.left:
            return f"{', '.join(name for _, name in left)} (numbers on modules)"
        return plain.difference(again)

    def tell_proved(self) -> None:
        """Says so after the last proof, once for a phase."""
        if self.runs == WARM + 1 + PROOFS and self.number == 0:
            self.replays.tell(f"{self.phase.name} is replayed as a CUDA graph from now on")

    def try_recording(self, batch: Batch, at: Progress, step: Step) -> Recording | None:
        """None, with a reason, where it cannot be recorded. Raises EnvironmentFault."""
        try:
            return self.recorded(batch, at, step)
        except RuntimeError as e:
            self.check_device()
            self.refuse(f"recording it failed: {str(e).splitlines()[0]}")
            return None

    def recorded(self, batch: Batch, at: Progress, step: Step) -> Recording:
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

    def progress(self, at: Progress) -> RecordedProgress:
        """`at`, for a loss that is watched or recorded."""
        return RecordedProgress(at, self.scheduled, self.params[0].device)

    def replay(self, recording: Recording, batch: Batch, at: Progress) -> Terms:
        """Replays it, and says what the recorded loss said."""
        terms = recording(batch, at)
        forget_said(self.replays.recipe)
        self.replays.recipe.say(recording.said)
        return terms

    def refuse(self, reason: str) -> None:
        """It runs as it is from now on; the run says why, once for a phase."""
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


def forget_said(recipe: Recipe) -> None:
    """What phases before have said, and nobody asked for."""
    recipe.take_watched()
    recipe.take_scored()


def make_replays(engine: Engine, tell: Callable[[str], None]) -> Replays:
    """For a run with `train.cuda_graphs`. Raises ConfigError where nothing can be recorded."""
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
