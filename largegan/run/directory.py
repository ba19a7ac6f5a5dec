"""The run directory: refused when taken, resumed when asked, self-explaining when found later."""

import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import yaml
from jsonargparse import Namespace

from largegan import checkpoint
from largegan.config.parse import as_dict, resolved_yaml
from largegan.errors import ConfigError, DataError, EnvironmentFault, reason, without_secrets
from largegan.files.claims import Outputs, check_folder
from largegan.files.output import write_text
from largegan.files.version import VERSION
from largegan.run import branches
from largegan.run.branches import LOGS
from largegan.run.lock import RunLock
from largegan.run.trackers import WANDB

RECORDED = ("torch", "torchvision", "accelerate", "webdataset", "numpy")


def decide_start(
    config: Namespace, lock: RunLock | None = None
) -> tuple[str, str | None, list[str]]:
    """(run directory, checkpoint to start from or None, what to tell the user).

    Takes the directory's lock before it looks for checkpoints: nobody writes any after that.
    Raises `EnvironmentFault` when another run has it, and `ConfigError` when the directory
    already holds a run and nobody said what to do, or when there is nothing to resume from and
    somebody insisted.
    """
    folder = Path(config.run.dir).expanduser() if config.run.dir else fresh_name(config)
    resume = config.run.resume
    if resume == "never" and is_run(folder):
        raise ConfigError(
            f"{folder} already holds a run; continue it with --run.resume auto, or choose another "
            "--run.dir"
        )
    refuse_strangers(folder)
    refuse_data(folder, config.data)
    check_folder(folder)
    notes: list[str] = []
    if lock:
        lock.acquire(folder)
        notes = branches.finish(folder)  # a turn that a kill interrupted
    if resume == "never":
        return str(folder), None, notes
    if resume in ("auto", "must"):
        checkpoint.sweep(folder / "checkpoints")
        found, skipped = checkpoint.newest(folder / "checkpoints")
        notes += skipped
        if found is None and resume == "must":
            why = f" ({'; '.join(notes)})" if notes else ""
            raise ConfigError(f"{folder} has no complete checkpoint to resume from{why}")
        if found is None and is_run(folder):
            notes.append(f"{folder} has no complete checkpoint: starting from zero")
        return str(folder), str(found) if found else None, notes
    start = checkpoint.resolve(Path(resume).expanduser())
    own = folder / "checkpoints"
    ours = start.resolve().parent == own.resolve() or branches.is_left(start, own)
    if is_run(folder) and not ours:
        raise ConfigError(
            f"{folder} already holds a run, and {start} belongs to another; choose another "
            "--run.dir"
        )
    return str(folder), str(start), notes


WRITTEN = (
    "config.yaml", "env.json", "metrics.jsonl", "health.jsonl", "samples", "checkpoints",
    "scores.json", "scores.png", "snapshots", "report.html",
)  # fmt: skip


def is_run(folder: Path) -> bool:
    """Whether a directory holds a run: the configuration that every run begins with, or more."""
    if any(checkpoint.numbered(folder / "checkpoints")):
        return True
    try:
        content = yaml.safe_load((folder / "config.yaml").read_text())
        return {"run", "data", "train"} <= set(content) and "name" in content["recipe"]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError, RecursionError):
        return False


def refuse_strangers(folder: Path) -> None:
    """A directory that holds somebody else's files of the names of a run's. Raises ConfigError."""
    found = [name for name in WRITTEN if (folder / name).exists()]
    if found and not is_run(folder):
        raise ConfigError(
            f"{folder} holds no run, and a {found[0]} that a run would write over; choose another "
            "--run.dir"
        )


@contextlib.contextmanager
def withdrawn_if_nothing_came(folder: Path, trained: Callable[[], bool]) -> Iterator[None]:
    """Around a run: one that is new, and ends for a user's error before it trained, leaves nothing.

    Then the same start, mended, is not refused because there is a run already.
    """
    fresh = not is_run(folder)
    ours = [name for name in (*WRITTEN, WANDB) if not (folder / name).exists()]
    try:
        yield
    except (ConfigError, DataError, EnvironmentFault):
        for name in ours if fresh and not trained() else ():
            remove(folder / name)
        raise


def remove(path: Path) -> None:
    """Removes a file, or a folder with all in it, if it is there and can be."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def refuse_data(folder: Path, data: Namespace) -> None:
    """A run writes nothing into what it reads. Raises ConfigError."""
    named = [path for path in (data.path, data.path_b) if path]
    paths = [path for path in named for path in ([path] if isinstance(path, str) else path)]
    local = [path for path in paths if ":" not in path and Path(path).is_dir()]
    Outputs(local).folder(folder, "run.dir", apart=True)


def fresh_name(config: Namespace) -> Path:
    """runs/RECIPE-001, -002, ...: the first that does not exist."""
    number = 1
    while (path := Path("runs") / f"{config.recipe.name}-{number:03d}").exists():
        number += 1
    return path


def describe_run(folder: Path, config: Namespace, *, nimg: int, world: int, device: str) -> None:
    """Writes config.yaml and env.json; keeps the previous configuration when it differs."""
    try:
        text, path = resolved_yaml(config), folder / "config.yaml"
        if path.exists() and (before := path.read_text()) != text:
            write_text(folder / f"config.before-{nimg:09d}.yaml", before)
        write_text(path, text)  # before anything else: by this a directory is known as a run's
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        facts = json.dumps(environment(world, device), indent=1)
        write_text(folder / "env.json", facts)
        for log in LOGS:
            forget_after(folder / log, nimg)
    except (OSError, EnvironmentFault) as fault:
        why = reason(fault) if isinstance(fault, OSError) else fault
        raise EnvironmentFault(
            f"cannot write run directory {folder}: {why}; choose a writable "
            "--run.dir with free space"
        ) from fault


def forget_after(path: Path, nimg: int) -> None:
    """Drops lines of a log that a killed run wrote beyond the checkpoint it resumes from."""
    if not path.exists():
        return
    # Of a run that begins again from zero nothing stays: it says all of it again.
    kept = branches.lines_until(path, nimg) if nimg else []
    write_text(path, "".join(f"{line}\n" for line in kept))


def differences(saved: dict, config: Namespace) -> list[str]:
    """Settings that changed since a checkpoint was written, as `key: before -> now`."""
    before, now = flatten(saved), flatten(as_dict(config))
    keys = [k for k in {**before, **now} if not k.startswith("run.")]
    return [f"{k}: {before.get(k)} -> {now.get(k)}" for k in keys if before.get(k) != now.get(k)]


def flatten(nested: dict, prefix: str = "") -> dict:
    """{"a": {"b": 1}} -> {"a.b": 1}."""
    flat = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        flat.update(flatten(value, f"{name}.") if isinstance(value, dict) else {name: value})
    return flat


def environment(world: int, device: str) -> dict:
    """What somebody needs to understand or repeat this run later."""
    versions: dict[str, str | None] = {"largegan": VERSION}
    for package in RECORDED:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "argv": [without_secrets(word) for word in sys.argv],
        "versions": versions,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processes": world,
        "device": device,
        "git": git_revision(),
        "slurm": {k: v for k, v in os.environ.items() if k.startswith("SLURM_JOB")},
    }


def git_revision() -> str | None:
    """The commit of the working copy that runs, with + when it was changed."""
    where = Path(__file__).parent
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"],
            cwd=where,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None
