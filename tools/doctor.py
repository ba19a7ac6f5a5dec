#!/usr/bin/env python
"""Check that training can work here: one line each, and what to do where it cannot.

  doctor.py                                   the machine and the packages
  doctor.py --config configs/quickstart.yaml  also the configuration, its data, networks and disk
  doctor.py --config FILE --data.path SHARDS --train.batch_size 256
  accelerate launch --multi_gpu --num_processes 8 tools/doctor.py --config FILE
                                              also whether the processes find each other

Takes the options of `python -m largegan.train`. Started as several processes, all of them look;
the first one reports, the others say only what is wrong with them. Nothing is left on the disk.
Exit codes: 0 nothing failed, else that of the first failure: 2 configuration, 3 data, 4 machine.
"""

import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from types import SimpleNamespace

READ_SECONDS = 1.0
CONFIG, DATA, MACHINE = 2, 3, 4  # exit codes
OPTIONAL = {"deepspeed", "tensorboard", "wandb"}


@dataclass(frozen=True)
class Finding:
    """One line of the report. `code` is what the program exits with if this is the first FAIL."""

    level: str  # ok, warn, FAIL
    what: str
    facts: str
    remedy: str = ""
    code: int = MACHINE

    def __str__(self) -> str:
        return f"{self.level:5s} {self.what}: {self.facts}" + (
            f"; {self.remedy}" if self.remedy else ""
        )


@dataclass
class Visit:
    """What the checks learn and later ones need."""

    argv: list[str]
    rank: int = 0
    size: int = 1
    config: object = None
    device: object = None
    source: object = None
    recipe: object = None
    findings: list[Finding] = field(default_factory=list)


Check = Callable[[Visit], Iterator[Finding]]


def check_python(visit: Visit) -> Iterator[Finding]:
    needs = re.sub(r"^>=", "", metadata.metadata("largegan")["Requires-Python"] or ">=3.10")
    level = "ok" if tuple(sys.version_info) >= as_version(needs) else "FAIL"
    remedy = "" if level == "ok" else f"use Python {needs} or newer"
    yield Finding(level, "python", f"{platform.python_version()} on {platform.system()}", remedy)


def check_packages(visit: Visit) -> Iterator[Finding]:
    """Every requirement of the project against what is installed."""
    from packaging.requirements import Requirement

    fine = []
    for line in metadata.requires("largegan") or []:
        requirement = Requirement(line)
        name = requirement.name
        optional = bool(requirement.marker) and "extra" in str(requirement.marker)
        if name == "largegan" or (optional and name not in OPTIONAL):
            continue
        installed = version_of(name)
        if installed is None:
            if not optional:
                yield Finding(
                    "FAIL", name, "not installed", f'pip install "{name}{requirement.specifier}"'
                )
        elif not requirement.specifier.contains(installed, prereleases=True):
            yield Finding(
                "warn" if optional else "FAIL",
                name,
                f"{installed}, but the project needs {requirement.specifier}",
                f'pip install "{name}{requirement.specifier}"',
            )
        else:
            fine.append(f"{name} {installed}")
    yield Finding("ok", "packages", ", ".join(fine))


def check_devices(visit: Visit) -> Iterator[Finding]:
    import torch

    build = f"torch {torch.__version__}, CUDA {torch.version.cuda or 'not in this build'}"
    if not torch.cuda.is_available():
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        if driver_lists_gpus() and hidden is None:
            yield Finding(
                "warn", "devices", f"{build}; the driver lists a GPU that torch cannot use",
                "install a torch build with CUDA that this driver supports",
            )  # fmt: skip
            return
        why = f" (CUDA_VISIBLE_DEVICES={hidden!r})" if hidden is not None else ""
        yield Finding("ok", "devices", f"{build}; no GPU{why}, training runs on the CPU")
        return
    names = []
    for i in range(torch.cuda.device_count()):
        free, total = (n / 2**30 for n in torch.cuda.mem_get_info(i))
        names.append(f"{torch.cuda.get_device_name(i)} ({free:.0f} of {total:.0f} GiB free)")
        if free < total / 2:
            yield Finding(
                "warn", f"cuda:{i}", f"{free:.1f} of {total:.1f} GiB free",
                "another program uses it; choose another with CUDA_VISIBLE_DEVICES",
            )  # fmt: skip
    nccl = ".".join(map(str, torch.cuda.nccl.version())) if has_nccl() else "missing"
    yield Finding("ok", "devices", f"{build}, NCCL {nccl}; {', '.join(names)}")


def check_cpu(visit: Visit) -> Iterator[Finding]:
    from largegan.parallel.launch import threads_per_process

    threads = threads_per_process(os.environ)
    wanted = os.environ.get("OMP_NUM_THREADS")
    note = ""
    if wanted is not None:
        # Accelerate exports 1 when nobody chose; the trainer does not follow it.
        note = f" (not OMP_NUM_THREADS={wanted}, which launchers set; see train.cpu_threads)"
    yield Finding("ok", "cpu", f"{os.cpu_count()} cores, {threads} threads a process{note}")
    shared = Path("/dev/shm")
    if shared.is_dir():
        free = shutil.disk_usage(shared).free / 2**20
        if free < 256:
            yield Finding(
                "warn", "shared memory", f"{free:.0f} MiB free in /dev/shm",
                "data workers pass batches through it: start the container with a larger "
                "--shm-size or use data.workers 0",
            )  # fmt: skip


def check_decoders(visit: Visit) -> Iterator[Finding]:
    """The compiled decoders are present and give back what was encoded."""
    import numpy as np
    from PIL import Image

    grey = np.full((16, 16, 3), 96, np.uint8)
    decoders = {"simplejpeg": ("decode_jpeg", "JPEG"), "pyspng": ("load", "PNG")}
    working = []
    for name, (function, format_) in decoders.items():
        encoded = io.BytesIO()
        Image.fromarray(grey).save(encoded, format_)
        try:
            decoded = getattr(import_module(name), function)(encoded.getvalue())
        except (ImportError, AttributeError, ValueError) as fault:
            yield Finding("FAIL", name, f"does not work ({fault})", f"pip install {name}")
            continue
        if np.abs(decoded.astype(int) - grey).max() > 2:
            yield Finding("FAIL", name, "decodes wrongly", f"pip install --force-reinstall {name}")
        else:
            working.append(f"{name} {version_of(name)}")
    yield Finding("ok", "decoders", ", ".join(working) or "none")


def check_config(visit: Visit) -> Iterator[Finding]:
    from largegan.config import parse

    if not visit.argv:
        yield Finding("ok", "config", "none given; --config FILE checks it, its data and networks")
        return
    visit.config = config = parse(visit.argv)
    train = config.train
    yield Finding(
        "ok", "config", f"recipe {config.recipe.name}, batch {train.batch_size}, "
        f"{train.total_nimg} images, {train.precision}, engine {config.parallel.engine}",
    )  # fmt: skip


def check_launch(visit: Visit) -> Iterator[Finding]:
    """What the launcher said, and whether all its processes are in one group."""
    import torch

    from largegan.parallel.launch import connect
    from largegan.parallel.replicated import Replicated

    said = [k for k in ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS") if int(os.environ.get(k, 1)) > 1]
    if said and is_first():
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        count = os.environ[said[0]]
        # Before, not after: a firewall shows itself by nothing happening from here on.
        print(f"      processes: waiting for {count} at {where}", flush=True)
    settings = visit.config
    world = connect(
        settings.parallel.processes if settings else None,
        cpu_threads=settings.train.cpu_threads if settings else None,
    )
    visit.rank, visit.size, visit.device = world.rank, world.size, world.device
    if world.size == 1:
        yield Finding("ok", "processes", f"1, on {world.device}")
        return
    mean = float(Replicated(world).mean(torch.tensor([float(world.rank)], device=world.device)))
    if mean != (world.size - 1) / 2:
        yield Finding(
            "FAIL", "processes", f"a reduction over {world.size} ranks gave {mean}",
            "check the network between the nodes, and NCCL_DEBUG=INFO",
        )  # fmt: skip
        return
    yield Finding("ok", "processes", f"{world.size} in one group, a reduction is right")


def check_data(visit: Visit) -> Iterator[Finding]:
    from largegan.data import open_data

    data = visit.config.data if visit.config else None
    options = dict(vars(data)) if data else {"path": "bundled:noto32"}
    path = options.pop("path")
    for key in ("mirror", "workers"):
        options.pop(key, None)
    visit.source = source = open_data(path, world=visit.size, rank=visit.rank, **options)
    info = source.info
    count = "an unknown number of" if info.count is None else info.count
    kinds = f"{info.num_classes} classes" if info.num_classes else "no classes"
    yield Finding(
        "ok", "data", f"{path}: {count} examples of {info.channels}x{info.height}x{info.width}, "
        f"{kinds}",
    )  # fmt: skip
    empty = [i for i, n in enumerate(info.label_counts) if n == 0]
    if empty:
        yield Finding(
            "warn", "labels", f"{len(empty)} of {info.num_classes} classes have no example, the "
            f"first is {empty[0]}", "pack with --compact-labels", DATA,
        )  # fmt: skip
    batch = batch_size(visit)
    if info.count is not None and info.count < batch:
        yield Finding(
            "warn", "data", f"{info.count} examples are fewer than one batch of {batch}",
            "lower train.batch_size or bring more data", DATA,
        )  # fmt: skip
    yield from read_for_a_while(visit)


def read_for_a_while(visit: Visit) -> Iterator[Finding]:
    """Speed of one reader on one core, in the order of training, and the labels it saw."""
    stream = open_stream(visit, seed=0)
    micro = stream.next_batch()[0]  # opens files and starts readers: not what is measured
    images, labels = 0, label_range(micro)
    watch = Watch()
    while watch.elapsed() < READ_SECONDS:
        for micro in stream.next_batch():
            images += len(micro["index"])
            labels = widest(labels, label_range(micro))
    elapsed, idle = watch.elapsed(), watch.idle()
    stream.close()
    classes = visit.source.info.num_classes
    if classes and labels and not (labels[0] >= 0 and labels[1] < classes):
        yield Finding(
            "FAIL", "labels", f"from {labels[0]} to {labels[1]} with {classes} classes",
            "write the index again with tools/verify.py --write-index", DATA,
        )  # fmt: skip
    seen = f", labels {labels[0]} to {labels[1]}" if classes and labels else ""
    facts = f"{images / elapsed:.0f} img/s with one reader{seen}"
    if idle > 0.5:
        yield Finding(
            "warn", "reading", f"{facts}; {idle:.0%} of the time it waits for the disk or network",
            "use more data.workers, a local copy or data.cache_dir", DATA,
        )  # fmt: skip
    else:
        yield Finding("ok", "reading", facts)


class Watch:
    """How long something takes, and how much of that it waited of its own accord."""

    def __init__(self):
        self.wall, self.cpu, self.switches = time.perf_counter(), time.process_time(), switches()

    def elapsed(self) -> float:
        return time.perf_counter() - self.wall

    def idle(self) -> float:
        """Share of the time spent waiting for input: 0 where others kept the CPU from us."""
        now = switches()
        gave, lost = now[0] - self.switches[0], now[1] - self.switches[1]
        if gave <= lost:
            return 0.0
        return max(0.0, 1 - (time.process_time() - self.cpu) / self.elapsed())


def switches() -> tuple[int, int]:
    """Times this thread gave the CPU away and times it was taken; (0, 0) where nobody counts."""
    if not sys.platform.startswith("linux"):
        return 0, 0
    import resource

    usage = resource.getrusage(resource.RUSAGE_THREAD)
    return usage.ru_nvcsw, usage.ru_nivcsw


def check_recipe(visit: Visit) -> Iterator[Finding]:
    """Builds the networks and runs every phase once, forward and backward, without stepping."""
    import torch

    from largegan.config import recipe_options
    from largegan.recipe import DataSpec
    from largegan.recipes import recipe_class

    if not visit.config or not visit.source:
        return
    info, settings = visit.source.info, visit.config
    spec = DataSpec(info.channels, info.height, info.width, info.num_classes)
    torch.manual_seed(settings.train.seed)
    visit.recipe = recipe_class(settings.recipe.name)(spec, **recipe_options(settings))
    sizes = ", ".join(
        f"{name} {sum(p.numel() for p in player.parameters()) / 1e6:.2f} M"
        for name, player in visit.recipe.players.items()
    )
    yield Finding("ok", "networks", f"parameters: {sizes}")
    yield from run_phases(visit)


def run_phases(visit: Visit) -> Iterator[Finding]:
    import torch

    from largegan.data.transforms import to_device
    from largegan.parallel.launch import World
    from largegan.parallel.replicated import Replicated
    from largegan.recipe import Progress

    # A world of one: a rank whose data failed does not come here, and must not be waited for.
    engine = Replicated(World(0, 1, visit.device))
    engine.setup(visit.recipe)
    stream = open_stream(visit, seed=visit.config.train.seed)
    micro = to_device(stream.next_batch()[0], visit.device)
    stream.close()
    spent = []
    for phase in visit.recipe.phases:
        start = time.perf_counter()
        engine.begin(phase.player, second_order=phase.second_order)
        loss = sum(phase.loss(micro, Progress()).values())
        engine.backward(loss, last=True)
        value = float(loss.detach())  # waits for the device
        spent.append(f"{phase.name} {time.perf_counter() - start:.3f} s")
        if value - value != 0:
            yield Finding(
                "FAIL", "networks", f"phase {phase.name} gives a loss of {value} at the start",
                "check the recipe's options", CONFIG,
            )  # fmt: skip
    peak = ""
    if visit.device.type == "cuda":
        peak = f"; peak memory {torch.cuda.max_memory_allocated(visit.device) / 2**30:.1f} GiB"
    size = len(micro["index"])
    facts = f"one micro-batch of {size}, forward and backward, first time: {', '.join(spent)}{peak}"
    yield Finding("ok", "phases", facts)


def check_run_directory(visit: Visit) -> Iterator[Finding]:
    from largegan import run

    if not visit.config:
        return
    given = visit.config.run.dir
    folder = Path(given) if given else run.fresh_name(visit.config)
    taken = run.is_run(folder)
    if taken and visit.config.run.resume == "never":
        yield Finding(
            "warn", "run directory", f"{folder} already holds a run",
            "train with --run.resume auto to continue it, or choose another --run.dir", CONFIG,
        )  # fmt: skip
    place = nearest_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as fault:
        yield Finding(
            "FAIL", "run directory", f"cannot write in {place} ({fault.strerror})",
            "choose a writable --run.dir",
        )  # fmt: skip
        return
    yield disk_space(visit, folder, place)


def disk_space(visit: Visit, folder: Path, place: Path) -> Finding:
    """Free space against the checkpoints that will be kept."""
    free = shutil.disk_usage(place).free
    facts = f"{folder} is writable, {readable(free)} free"
    if visit.recipe is None:
        return Finding("ok", "run directory", facts)
    size, kept = checkpoint_bytes(visit.recipe), visit.config.train.keep_last
    facts += f"; a checkpoint has about {readable(size)}, {kept} are kept"
    # One more than are kept: the old ones go only when the new one is complete.
    if free < 2 * size:
        return Finding("FAIL", "run directory", facts, "make room or choose another --run.dir")
    if free < (kept + 1) * size:
        return Finding("warn", "run directory", facts, "make room or lower train.keep_last")
    return Finding("ok", "run directory", facts)


def checkpoint_bytes(recipe) -> int:
    """All weights and averages, and Adam's two moments of what learns."""
    state = sum(t.numel() * t.element_size() for t in recipe.state_dict().values())
    learning = {p for player in recipe.players.values() for p in player.parameters()}
    return state + 2 * sum(p.numel() * p.element_size() for p in learning)


def open_stream(visit: Visit, *, seed: int):
    """As training reads, in this process; micro-batches of one rank."""
    from largegan.data import Stream
    from largegan.trainer import micro_batch_size

    train = visit.config.train if visit.config else SimpleNamespace(micro_batch_size=None)
    batch = batch_size(visit)
    return Stream(
        visit.source,
        batch_size=batch,
        micro_batch_size=micro_batch_size(batch, train.micro_batch_size, visit.size),
        rank=visit.rank,
        world=visit.size,
        seed=seed,
        workers=0,
    )


def batch_size(visit: Visit) -> int:
    return visit.config.train.batch_size if visit.config else 64 * visit.size


def label_range(micro: dict) -> tuple[int, int] | None:
    labels = micro.get("label")
    return None if labels is None else (int(labels.min()), int(labels.max()))


def widest(a: tuple[int, int] | None, b: tuple[int, int] | None) -> tuple[int, int] | None:
    return b if a is None else a if b is None else (min(a[0], b[0]), max(a[1], b[1]))


def as_version(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", text))


def version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def has_nccl() -> bool:
    import torch

    return torch.distributed.is_available() and torch.distributed.is_nccl_available()


def driver_lists_gpus() -> bool:
    """Whether NVIDIA's driver knows of a GPU, whatever torch thinks."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    try:
        answer = subprocess.run([program, "-L"], capture_output=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and b"GPU" in answer.stdout


def is_first() -> bool:
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


def nearest_folder(path: Path) -> Path:
    """The path, or the first of its parents that exists."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path


def readable(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"


CHECKS: list[tuple[str, int, Check]] = [
    # what, exit code for an error nobody foresaw, check
    ("python", MACHINE, check_python),
    ("packages", MACHINE, check_packages),
    ("devices", MACHINE, check_devices),
    ("cpu", MACHINE, check_cpu),
    ("decoders", MACHINE, check_decoders),
    ("config", CONFIG, check_config),
    ("processes", MACHINE, check_launch),
    ("data", DATA, check_data),
    ("networks", CONFIG, check_recipe),
    ("run directory", MACHINE, check_run_directory),
]


def examine(visit: Visit) -> None:
    """Runs the checks in order, printing as they speak; later ones need the configuration."""
    for what, code, check in CHECKS:
        for finding in safely(what, code, check, visit):
            visit.findings.append(finding)
            report(visit, finding)
            if finding.level == "FAIL" and what in ("config", "processes"):
                return
            if finding.level == "FAIL" and what == "data":
                visit.source = None  # nothing more to learn from it


def safely(what: str, code: int, check: Check, visit: Visit) -> Iterator[Finding]:
    """The findings of a check; whatever it raises becomes one. A doctor does not collapse."""
    from largegan.errors import UserError

    try:
        yield from check(visit)
    except UserError as fault:
        yield Finding("FAIL", what, str(fault), code=fault.exit_code)
    except Exception as fault:  # foreseen by nobody, and reported with its kind
        yield unforeseen(what, code, fault)


def unforeseen(what: str, code: int, fault: Exception) -> Finding:
    kind, text = type(fault).__name__, " ".join(str(fault).split())[:300]
    remedy = "please report it with this line"
    if kind == "OutOfMemoryError":
        remedy, code = "use a smaller train.micro_batch_size", MACHINE
    return Finding("FAIL", what, f"{kind}: {text}", remedy, code)


def report(visit: Visit, finding: Finding) -> None:
    if visit.rank == 0 and is_first():
        print(finding, flush=True)
    elif finding.level != "ok":
        print(f"rank {os.environ.get('RANK', visit.rank)}: {finding}", flush=True)


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if {"-h", "--help"} & set(argv):
        print(__doc__)
        return 0
    try:
        import_module("largegan.errors")
        metadata.metadata("largegan")
    except (ImportError, metadata.PackageNotFoundError):
        print(Finding("FAIL", "largegan", "not installed in this Python", "pip install -e ."))
        return MACHINE
    visit = Visit(argv)
    try:
        examine(visit)
    finally:
        leave_group()
    failures = [f for f in visit.findings if f.level == "FAIL"]
    return failures[0].code if failures else 0


def leave_group() -> None:
    if "torch" in sys.modules:
        from largegan.parallel.launch import disconnect

        disconnect()


if __name__ == "__main__":
    sys.exit(main())
