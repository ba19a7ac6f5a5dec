"""Every setting of a run but its recipe's: name, type, default, meaning.

`config.py` reads them from files and the command line; `--help` shows the texts below.
"""

from dataclasses import dataclass, field
from typing import Literal

from largegan.files.ranges import (
    Batch,
    Classes,
    Count,
    Fraction,
    Images,
    Minutes,
    Name,
    PixelValue,
    Place,
    PositiveWeight,
    Processes,
    Rows,
    Seconds,
    Seed,
    Side,
    Threads,
    Weight,
    Workers,
)


@dataclass
class RunConfig:
    """Where a run lives, and how it starts."""

    dir: Place | None = None
    """Directory of this run. Default: runs/NAME-NNN, a new one each time."""
    resume: Place = "never"
    """never: refuse a directory that already holds a run. auto: continue from its newest complete
    checkpoint, or start. must: continue or fail. PATH: start from that checkpoint or run."""
    init_from: Place | None = None
    """Fine-tuning: start with the weights of this run or checkpoint, on other images of the same
    shape or other classes, with new optimizers and 0 images seen. Resuming ignores it."""


@dataclass
class DataConfig:
    """What to train on."""

    path: Place = "bundled:noto32"
    """Folder of shards, a .tar, a pattern, an index.json, URLs; bundled:noto32;
    synthetic:gaussian. For translation: a folder with shards in a/ and b/, or shards of pairs.
    Or images as they are (a folder, a zip, LMDB, HDF5, parquet, CIFAR, MNIST, a CSV of paths):
    they are packed once into cache_dir."""
    path_b: Place | None = None
    """For translation: shards of domain b, when they are not in PATH/b; data.path is domain a
    then."""
    resize: Side | None = None
    """Resize images so that the shorter side has this many pixels (bicubic, on the device)."""
    crop: Side | None = None
    """Train on squares of this side, cut out at random (after resizing)."""
    labels: bool = True
    """Use class labels where the shards have them."""
    resolution: Side | None = None
    """Side of the images that training sees: others are refused. --dry-run believes it where the
    data are not."""
    num_classes: Classes | None = None
    """Number of classes: for labeled shards that are streamed without an index, and for
    --dry-run where the data are not."""
    mirror: bool = False
    """Flip images left to right at random (doubles a small set; wrong for text)."""
    workers: Workers = 1
    """Reader processes per rank; 0 reads in the training process."""
    mode: Literal["auto", "indexed", "stream"] = "auto"
    """indexed: exact order and resume (local or cached shards); stream: remote shards as they
    come."""
    on_error: Literal["raise", "skip"] = "raise"
    """What to do with a damaged sample: stop and name it, or replace it and count it."""
    held_out: Count | None = None
    """Examples that training leaves aside: what the discriminator says of them tells whether it
    overfits (of two domains, so many of each). Left out: none."""
    max_skip_fraction: Fraction = 1e-4
    """Stop when more than this fraction of samples had to be skipped."""
    cache_dir: Place | None = None
    """Folder that keeps copies of remote shards, and shards of images that are packed for training.
    Default for the latter: $LARGEGAN_CACHE, else ~/.cache/largegan."""
    split: Literal["train", "val", "test", "all"] | None = None
    """Of images that are packed for training: the part of the set, where it has parts."""
    label_field: Name | None = None
    """Of images that are packed for training: which label, where they have several."""
    label_vectors: bool = False
    """Of images that are packed for training: labels are numbers, or lists of as many."""
    side_by_side: Literal["left", "right"] | None = None
    """Images hold a pair, as facades' do: the half that is the source (image a)."""
    fit: Literal["center-crop", "stretch", "pad"] = "center-crop"
    """How images are packed that do not have the shape of resolution."""
    channels: Literal[1, 3, 4] = 3
    """Channels that images are packed with: 1 gray, 3 color, 4 with alpha."""
    window: list[PixelValue] | None = None
    """Stored values of 16-bit or float images that become black and white, such as [0, 4095]."""
    depth: Literal[8, 16] = 8
    """Bits per channel that images are packed with; 16 keeps those of deep images."""
    decoded: Literal["no", "memory", "disk"] = "no"
    """Keep decoded images of a set that fits: in memory, or in cache_dir on a local disk."""
    may_change: bool = False
    """Resume also on images that are not those of the checkpoint: some were added, or left out."""
    allow_pipe: bool = False
    """Allow `pipe:COMMAND` URLs, which run a shell command."""


@dataclass
class StopConfig:
    """Ending a run by its score, before total_nimg."""

    metric: Name | None = None
    """The score, one of those that evaluate.metrics give; left out: only total_nimg ends a run."""
    patience_nimg: Images = 500_000
    """Images for which the score may fail to improve."""
    min_gain: Weight | Literal["error_bars"] = "error_bars"
    """What counts as better: more than this much, or than the score's own standard error."""


@dataclass
class TrainConfig:
    """How long, how much at once, and when to save and show."""

    total_nimg: Images = 1_000_000
    """Images to train on (batch_size per iteration)."""
    batch_size: Batch = 64
    """Images per optimizer step, over all processes and micro-batches."""
    micro_batch_size: Batch | None = None
    """Images per forward pass. Default: batch_size / processes. State it to draw the same noise
    with any number of processes."""
    seed: Seed = 0
    """Same seed, same configuration: same run."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    """bf16: autocast in first-order phases, float32 weights, TF32 elsewhere; tf32: faster, coarser
    float32 products on a GPU."""
    deterministic: bool = False
    """On a GPU: the same bits each time, also after a resume, for some speed. CPUs always are."""
    compile: bool = False
    """Compile networks by torch.compile for phases that differentiate once: minutes at the start.
    Draws the same random numbers. Does not pay on a CPU; was not timed on a GPU."""
    cuda_graphs: bool = False
    """On a GPU: record losses and gradients of each phase once, and replay them without Python.
    Phases that cannot be are left as they are, and said; needs memory for their gradients."""
    max_grad_norm: PositiveWeight | None = None
    """Clip each player's gradient to this norm."""
    max_bad_steps: Count = 10
    """Stop (exit code 5) after this many non-finite steps of a phase in a row."""
    cpu_threads: Threads | None = None
    """Threads per process without a GPU. Default: the cores of this machine, shared out."""
    save_every_nimg: Images = 100_000
    """Images between checkpoints."""
    keep_last: Count = 3
    """Checkpoints to keep."""
    keep_every_nimg: Images | None = None
    """Also keep checkpoints at multiples of this many images."""
    log_every_nimg: Images = 10_000
    """Images between lines of metrics.jsonl."""
    sample_every_nimg: Images = 50_000
    """Images between sample grids."""
    log_every_minutes: Minutes | None = 1.0
    """Minutes between lines of text, besides those of metrics.jsonl; null: only with these."""
    sample_every_minutes: Minutes | None = 10.0
    """Minutes after which a picture comes at the latest; null: by images alone."""
    save_every_minutes: Minutes | None = 30.0
    """Minutes after which a checkpoint comes at the latest; null: by images alone."""
    max_seconds: Seconds | None = None
    """Seconds after which a start saves, draws and ends well (exit code 0). Left out: never."""
    job_margin_seconds: Seconds | None = 90.0
    """In a SLURM job that knows its end: so long before, a start saves and asks to be started again
    (exit code 75), if no signal has asked it to before; null: SLURM's end is not looked at."""
    sample_rows: Rows = 8
    """Rows and columns of a sample grid."""
    snapshot_every_nimg: Images | None = None
    """Post-hoc averages: images between snapshots of averaged weights in 16 bits, from which
    `largegan ema` finds the average of any width after training. Left out: none are kept."""
    snapshot_widths: list[PositiveWeight] = field(default_factory=lambda: [0.05, 0.1])
    """Widths of the averages that snapshots hold, as parts of the training time; two or more."""
    stop: StopConfig = field(default_factory=StopConfig)


EngineName = Literal["replicated", "deepspeed", "zero1", "zero2", "zero3", "fsdp2"]


@dataclass
class EvaluateConfig:
    """Scores while training, on all processes, of images from the averaged weights."""

    every_nimg: Images | None = None
    """Images between evaluations; left out: never. Each of them saves a checkpoint."""
    metrics: list[Name] = field(default_factory=lambda: ["fid"])
    """Of the table of metrics: fid, kid, prdc, ... (`fid --help` explains them)."""
    best: Name = "fid"
    """The score whose best checkpoint is never removed: fid, kid, precision, recall, ..."""
    count: Count = 10_000
    """Images drawn per evaluation."""
    reference: Place | None = None
    """Real images or a file of statistics. Default: the training data."""
    reference_count: Count | None = None
    """Take the first so many real images. Default: all."""
    backbone: Name = "inception"
    """Feature network: inception, efficientnet_lite0 or a timm model."""
    weights_dir: Place | None = None
    """Look for its weights here first; see tools/weights.py."""
    error_bars: bool = True
    """Standard error and limit of the Fréchet distance: thirty times its calculation."""
    batch: Batch = 64
    """Images computed at once, on each process."""


Action = Literal["warn", "stop", "rollback"]


@dataclass
class RollbackConfig:
    """Going back to the best checkpoint before an illness began, where health.on_... says so."""

    times: Count = 2
    """Rollbacks before the run stops instead (exit code 5)."""
    change: dict[str, float | str] = field(default_factory=dict)
    """What is different from there on: train.seed, ada.p and numbers of the recipe, each a new
    number, `times 0.5` or `plus 1`: {train.seed: plus 1, recipe.lr: times 0.5}."""


@dataclass
class HealthConfig:
    """Signals of how the players stand to each other, and verdicts on them."""

    signals: bool = True
    """Write signals to metrics.jsonl and verdicts to health.jsonl; training is the same without."""
    look_every_nimg: Images | None = None
    """Images between looks at samples: diversity, twins, copies. Default: as sample_every_nimg."""
    look_count: Count = 256
    """Samples of a look."""
    on_discriminator_dominates: Action | None = None
    """What to do when a verdict begins. warn: say it on standard error. stop: save, and end with
    exit code 5. rollback: see health.rollback. Left out: verdicts are only written down."""
    on_generator_dominates: Action | None = None
    """As above."""
    on_mode_collapse: Action | None = None
    """As above."""
    on_discriminator_overfits: Action | None = None
    """As above; found only with data.held_out."""
    on_memorises: Action | None = None
    """As above."""
    on_diverges: Action | None = None
    """As above."""
    on_random_feedback: Action | None = None
    """As above."""
    on_no_progress: Action | None = None
    """As above."""
    rollback: RollbackConfig = field(default_factory=RollbackConfig)


@dataclass
class ParallelConfig:
    """How a run is spread over processes."""

    engine: EngineName | dict[str, EngineName] | None = None
    """How a player's weights, gradients and optimizer lie on the processes, for all players or by
    player ({G: fsdp2, D: replicated}). replicated: everybody holds all. zero1, zero2, zero3:
    DeepSpeed shares out optimizer; gradients too; weights too. deepspeed: at the stage of
    parallel.deepspeed. fsdp2: torch shares out all three. Default: as accelerate's configuration
    says, else replicated."""
    deepspeed: Place | None = None
    """DeepSpeed JSON file, such as configs/deepspeed/zero2.json."""
    overlap: bool = True
    """Replicated players: gradients leave while backward still runs (the result is the same)."""
    processes: Processes | None = None
    """Refuse to start unless exactly this many processes run together."""
    timeout_s: Seconds = 600.0
    """How long a process may let the others wait before it is named and the run ends (exit code
    4). Longer than rank 0 takes to write a checkpoint or a picture."""


@dataclass
class LogConfig:
    """Trackers besides metrics.jsonl, which is always written."""

    trackers: list[Name] = field(default_factory=list)
    """Names that Accelerate knows: tensorboard, wandb, trackio, mlflow, ..."""
    project: Name = "largegan"
    """Project name for the trackers."""


DEVICES = ("h100", "h200", "a100", "v100")  # that --dry-run knows

GROUPS = {
    "run": RunConfig,
    "data": DataConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "health": HealthConfig,
    "parallel": ParallelConfig,
    "log": LogConfig,
}
