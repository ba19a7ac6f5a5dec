"""From a count to seconds of an iteration and GiB on each GPU, for stated hardware and engines."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log, sqrt

from largegan.doctor.count import Count, Op, PhaseCount
from largegan.doctor.hardware import GPU, LAUNCH_S, REACHED_BYTES, REACHED_FLOPS

BUCKET_BYTES = 25 * 2**20  # the last one leaves when backward has ended
JITTER = 0.01  # standard deviation of a rank's compute time; the slowest sets the pace
SPLIT_WEIGHTS = ("zero3", "fsdp2")  # weights are cut too, between phases
CONTEXT_GIB = 2.0  # CUDA, cuDNN's and NCCL's workspaces
FRAGMENTS = 1.15  # what the allocator reserves over what is used

ASSUMED = [
    "nothing is fused or compiled; bf16 halves the bytes of first-order phases, and second-order "
    "phases stay in float32 (their convolutions in TF32)",
    f"ranks differ by {JITTER:.0%} (standard deviation) and wait for the slowest",
    "gradients of replicated players leave during the last micro-batch's backward but for the last "
    "25 MiB; ZeRO and FSDP2 hide none of their traffic",
    f"memory: {CONTEXT_GIB:g} GiB of context and workspaces, {FRAGMENTS - 1:.0%} of fragmentation; "
    "convolutions need no larger workspace",
    "reading data, pictures, scores and checkpoints take no time",
]


@dataclass(frozen=True)
class Setting:
    """How a counted recipe is run."""

    batch_size: int
    world: int
    gpu: GPU
    precision: str
    engines: Mapping[str, str]  # by player: replicated, zero1, zero2, zero3 or fsdp2


@dataclass(frozen=True)
class Iteration:
    """Seconds of one iteration, on average over lazy phases, of the slowest rank."""

    compute_s: float
    launch_s: float  # of that, operations too small to take longer than their launch
    links_s: float  # what travels and is not hidden behind backward
    waiting_s: float  # means over ranks inside batch norm, and the slowest rank
    link_bytes: float  # gradients and weights that a rank hands over
    images: int

    @property
    def seconds(self) -> float:
        return self.compute_s + self.links_s + self.waiting_s

    @property
    def images_per_s(self) -> float:
        return self.images / self.seconds

    @property
    def binding(self) -> str:
        """The largest term."""
        terms = {"compute": self.compute_s - self.launch_s, "launches": self.launch_s}
        terms |= {"links": self.links_s, "waiting": self.waiting_s}
        return max(terms, key=terms.get)


def iteration(count: Count, run: Setting) -> Iteration:
    micros = run.batch_size / (count.micro_batch_size * run.world)
    compute = update_s(count, run)
    links = means = size = launch = 0.0
    for phase in count.phases:
        turns = phase.phase.repeat / phase.phase.every
        forward, backward = phase_s(phase, run)
        compute += turns * micros * (forward + backward)
        launch += turns * micros * launch_s(phase, run)
        sent, exposed = traffic(count, run, phase, backward)
        links += turns * exposed
        size += turns * sent
        # Forward and backward; their contents are a few numbers.
        means += turns * micros * 2 * phase.rank_means * run.gpu.latency_s(run.world)
    # The largest of n normal numbers lies about sqrt(2 ln n) deviations out.
    waiting = means + compute * JITTER * sqrt(2 * log(run.world))
    return Iteration(compute, launch, links, waiting, size, run.batch_size)


def phase_s(phase: PhaseCount, run: Setting) -> tuple[float, float]:
    """Forward and backward of one micro-batch."""
    times = op_times(phase, run)
    return sum(times[: phase.forward_ops]), sum(times[phase.forward_ops :])


def launch_s(phase: PhaseCount, run: Setting) -> float:
    """The part of both that operations take which are over before the next one is launched."""
    return sum(t for t in op_times(phase, run) if t == LAUNCH_S)


def op_times(phase: PhaseCount, run: Setting) -> list[float]:
    precision = run.precision
    if precision == "bf16" and phase.phase.second_order:
        precision = "fp32"
    return [op_s(op, run.gpu, precision) for op in phase.ops]


def op_s(op: Op, gpu: GPU, precision: str) -> float:
    """One operation: bound by computing, by moving its bytes, or by being launched."""
    narrow = 0.5 if precision == "bf16" else 1.0
    if precision == "fp32" and "conv" in op.name:
        precision = "tf32"  # as PyTorch does unless told otherwise
    compute = op.flops / (gpu.flops[precision] * REACHED_FLOPS)
    return max(compute, op.bytes * narrow / (gpu.bytes_per_s * REACHED_BYTES), LAUNCH_S)


def update_s(count: Count, run: Setting) -> float:
    """Optimizer steps and averages: each moves its tensors through memory once."""
    moved = 12.0 * count.averages
    turns = dict.fromkeys(count.parameters, 0.0)
    for phase in count.phases:
        turns[phase.phase.player] += phase.phase.repeat / phase.phase.every
    for player, n in count.parameters.items():
        part = 1 if run.engines[player] == "replicated" else 1 / run.world
        moved += turns[player] * part * n * 4 * (3 + 2 * count.moments[player])
        if run.engines[player] == "replicated" and run.world > 1:
            moved += turns[player] * n * 4 * 4  # into buckets, and back
    return moved / (run.gpu.bytes_per_s * REACHED_BYTES)


def traffic(count: Count, run: Setting, phase: PhaseCount, backward: float) -> tuple[float, float]:
    """(bytes that a rank hands over in one turn of a phase, seconds of them that nothing hides).

    In units of an all-reduce, which is a scatter and a gather: gradients once a phase. Where
    weights are cut too, they are gathered for the phase, whichever player moves.
    """
    if run.world == 1:
        return 0.0, 0.0
    player = phase.phase.player
    sent = size = 4.0 * count.parameters[player]
    if run.engines[player] in SPLIT_WEIGHTS:
        sent /= 2  # scattered; it is gathered with the others
    for other, n in count.parameters.items():
        if run.engines[other] in SPLIT_WEIGHTS:
            sent += 4.0 * n / 2
    seconds = run.gpu.all_reduce_s(sent, run.world)
    hidden = backward if run.engines[player] == "replicated" else 0.0
    last = run.gpu.all_reduce_s(min(size, BUCKET_BYTES), run.world)
    return sent, max(last, seconds - hidden)


def memory_gib(count: Count, run: Setting) -> dict[str, float]:
    """What lies on each GPU at the worst moment; the values add up."""
    held = dict.fromkeys(("weights", "gradients", "optimizer"), 0.0)
    for player, n in count.parameters.items():
        engine, moments = run.engines[player], count.moments[player]
        cut = 1 / run.world
        held["weights"] += n * (cut if engine in SPLIT_WEIGHTS else 1)
        held["gradients"] += n * (cut if engine in SPLIT_WEIGHTS else 1)
        held["optimizer"] += n * moments * (1 if engine == "replicated" else cut)
        if engine.startswith("zero"):  # DeepSpeed steps copies of this rank's weights
            held["optimizer"] += n * cut
    cut_averages = sum(n for p, n in count.followed.items() if run.engines[p] in SPLIT_WEIGHTS)
    held["averages"] = count.averages - cut_averages * (1 - 1 / run.world)
    held["other tensors"] = count.others
    found = {what: n * 4 / 2**30 for what, n in held.items()}
    found["activations"] = max(working_gib(count, run, phase) for phase in count.phases)
    used = sum(found.values())
    found["context, fragments"] = CONTEXT_GIB + used * (FRAGMENTS - 1)
    return found


def working_gib(count: Count, run: Setting, phase: PhaseCount) -> float:
    """Activations of a micro-batch, gradients in buckets, weights gathered for the phase."""
    player, second = phase.phase.player, phase.phase.second_order
    kept = phase.kept_bytes * (0.5 if run.precision == "bf16" and not second else 1.0)
    if run.engines[player] == "replicated" and run.world > 1:
        kept += 4 * count.parameters[player]
    if run.engines[player] in SPLIT_WEIGHTS:  # its gradients, whole until they are scattered
        kept += 4 * count.parameters[player]
    kept += sum(4 * n for p, n in count.parameters.items() if run.engines[p] in SPLIT_WEIGHTS)
    return kept / 2**30
