"""Checkpoints: directories that are either complete or ignored. Tensors and JSON, never pickle.

RUN/checkpoints/000064000/      named by images seen
    model.safetensors           everything the recipe registers
    optimizer.safetensors       player/parameter/field
    state.json                  progress, data position, counters
    COMPLETE                    written last: size and sha256 of every file above
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from largegan.errors import ConfigError, DataError, EnvironmentFault

MARKER = "COMPLETE"
MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint directory holds, in memory."""

    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict


def save(folder: Path, nimg: int, content: Checkpoint) -> Path:
    """Writes `folder/NNNNNNNNN` so that a kill or a full disk at any instant loses nothing else.

    Raises `EnvironmentFault` when the disk refuses; earlier checkpoints stay as they were.
    """
    target = folder / f"{nimg:09d}"
    if is_complete(target):
        return target
    partial = folder / f".partial-{nimg:09d}-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        _write_files(partial, content)
        shutil.rmtree(target, ignore_errors=True)  # an incomplete one from a killed run
        partial.rename(target)
        sync(folder)
        _write_marker(target)
    except OSError as fault:
        shutil.rmtree(partial, ignore_errors=True)
        raise EnvironmentFault(_disk_sentence(target, fault)) from fault
    except SafetensorError as fault:  # its writer wraps the operating system's error
        shutil.rmtree(partial, ignore_errors=True)
        raise EnvironmentFault(f"cannot write {target}: {fault}; free space and resume") from fault
    return target


def load(path: Path) -> Checkpoint:
    """Reads a complete checkpoint; `DataError` names the file that is missing or damaged."""
    fault = damage(path)
    if fault:
        raise DataError(f"checkpoint {path} {fault}; resume from an older one")
    return Checkpoint(
        model=load_file(path / MODEL),
        optimizer=load_file(path / OPTIMIZER),
        state=json.loads((path / STATE).read_text()),
    )


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest complete checkpoint, and a sentence for each newer one that was skipped."""
    skipped = []
    for path in sorted(numbered(folder), key=lambda p: int(p.name), reverse=True):
        fault = damage(path)
        if fault is None:
            return path, skipped
        skipped.append(f"skipped checkpoint {path}: it {fault}")
    return None, skipped


def resolve(path: Path) -> Path:
    """A checkpoint directory from what a person types: a checkpoint or a run directory."""
    if (path / STATE).exists() or (path / MARKER).exists():
        return path
    for folder in (path / "checkpoints", path):
        found, skipped = newest(folder)
        if found:
            return found
        if skipped:
            raise DataError(f"{path} holds no complete checkpoint ({'; '.join(skipped)})")
    raise ConfigError(
        f"{path} is neither a checkpoint nor a run directory with one; give RUN or "
        "RUN/checkpoints/NNNNNNNNN"
    )


def parts_of_run(path: Path) -> list[Path]:
    """What must not be written into while a checkpoint or a run is read: their own folders."""
    if (path / STATE).exists() or (path / MARKER).exists():
        return [path]
    return [path / "checkpoints", path / "samples", path / "config.yaml", path / "metrics.jsonl"]


def prune(
    folder: Path, *, keep_last: int, keep_every_nimg: int | None, keep_nimg: int | None = None
) -> None:
    """Removes complete checkpoints beyond the last few, except every so many images and the best.

    `keep_nimg` is the best one's number of images.

    Checkpoints fall where an iteration ends, so the first one at or after each multiple is kept.
    """
    complete = sorted((p for p in numbered(folder) if is_complete(p)), key=lambda p: int(p.name))
    milestones: dict[int, Path] = {}
    for path in complete if keep_every_nimg else []:
        milestones.setdefault(int(path.name) // keep_every_nimg, path)
    milestones.pop(0, None)
    for path in complete[:-keep_last]:
        if path in milestones.values() or int(path.name) == keep_nimg:
            continue
        # Away under its name first: a kill half-way must not leave a directory that looks complete.
        with contextlib.suppress(OSError):
            path.rename(folder / f".removed-{path.name}-{os.getpid()}")
    sweep(folder)


def sweep(folder: Path) -> None:
    """Removes what a killed run left of checkpoints that it was writing or removing.

    Those have no marker. They are older than a complete one, and hold nothing but our own files.
    """
    for stale in (*folder.glob(".partial-*"), *folder.glob(".removed-*")):
        shutil.rmtree(stale, ignore_errors=True)
    unmarked = [path for path in numbered(folder) if not (path / MARKER).exists()]
    complete = [int(path.name) for path in numbered(folder) if is_complete(path)]
    for path in unmarked:
        own = all(p.name in (MODEL, OPTIMIZER, STATE) or MARKER in p.name for p in path.iterdir())
        if own and int(path.name) < max(complete, default=0):
            shutil.rmtree(path, ignore_errors=True)


def numbered(folder: Path) -> list[Path]:
    """The directories of `folder` that are named like checkpoints."""
    return [p for p in folder.glob("*") if p.name.isdecimal() and p.is_dir()]


def is_complete(path: Path) -> bool:
    return damage(path, hashes=False) is None


def damage(path: Path, *, hashes: bool = True) -> str | None:
    """What is wrong with a checkpoint, as the end of a sentence; None when it is whole."""
    try:
        listing = json.loads((path / MARKER).read_text())
    except FileNotFoundError:
        return f"has no {MARKER} marker (the run was stopped while writing it)"
    except (OSError, ValueError):
        return f"has an unreadable {MARKER} marker"
    for name, facts in listing["files"].items():
        file = path / name
        if not file.exists():
            return f"lacks {name}"
        if file.stat().st_size != facts["bytes"]:
            return f"has a truncated {name} ({file.stat().st_size} of {facts['bytes']} bytes)"
        if hashes and _sha256(file) != facts["sha256"]:
            return f"has a damaged {name} (its sha256 is not the recorded one)"
    return None


def unaliased(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """One name per tensor: modules registered under two names share storage, files do not."""
    seen: dict[tuple, str] = {}
    kept = {}
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride()) if tensor.numel() else (name,)
        if key not in seen:
            seen[key] = name
            kept[name] = tensor
    return kept


def check_model(path: Path, saved: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Refuses weights of another architecture, naming the first tensor that does not fit."""
    hint = "use the configuration of that run (its config.yaml), or start anew"
    for name, tensor in wanted.items():
        if name not in saved:
            raise ConfigError(f"checkpoint {path} has no {name}, which this recipe needs; {hint}")
        if saved[name].shape != tensor.shape:
            raise ConfigError(
                f"checkpoint {path} holds {name} as {list(saved[name].shape)}, this "
                f"configuration makes it {list(tensor.shape)}; {hint}"
            )
    for name in saved:
        if name not in wanted:
            raise ConfigError(f"checkpoint {path} holds {name}, unknown to this recipe; {hint}")


def sync(path: Path) -> None:
    """Makes a file's content, or a directory's entries, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_files(folder: Path, content: Checkpoint) -> None:
    save_file(_to_host(content.model), folder / MODEL)
    save_file(_to_host(content.optimizer), folder / OPTIMIZER)
    (folder / STATE).write_text(json.dumps(content.state, indent=1, sort_keys=True))
    for name in (MODEL, OPTIMIZER, STATE):
        sync(folder / name)


def _write_marker(target: Path) -> None:
    files = {
        name: {"bytes": (target / name).stat().st_size, "sha256": _sha256(target / name)}
        for name in (MODEL, OPTIMIZER, STATE)
    }
    written = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    partial = target / f".{MARKER}.{os.getpid()}"
    partial.write_text(json.dumps({"written": written, "files": files}, indent=1))
    sync(partial)
    partial.replace(target / MARKER)
    sync(target)


def _to_host(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.detach().to("cpu").contiguous() for name, t in unaliased(tensors).items()}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _disk_sentence(target: Path, fault: OSError) -> str:
    free = "?"
    with contextlib.suppress(OSError):
        free = f"{shutil.disk_usage(target.parent).free / 2**20:.0f} MiB"
    why = "the disk is full" if fault.errno == errno.ENOSPC else str(fault)
    return (
        f"cannot write checkpoint {target}: {why} ({free} free); earlier checkpoints are intact, "
        "make room and continue with --run.resume auto"
    )
