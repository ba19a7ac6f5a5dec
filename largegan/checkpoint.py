"""Checkpoints: directories that are either complete or ignored. Tensors and JSON, never pickle.

RUN/checkpoints/000064000/      named by images seen
    model.safetensors           everything the recipe registers
    optimizer.safetensors       player/parameter/field
    state.json                  progress, data position, counters
    COMPLETE                    written last: size and sha256 of every file above
RUN/checkpoints/left-from-000032000/000064000/      of a branch that the run has left at 32000
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from largegan.errors import ConfigError, DataError, EnvironmentFault

MARKER = "COMPLETE"
LEFT = "left-from"  # and the number where the run left that branch
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
    skipped: list[str] = []
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


def prune(
    folder: Path, *, keep_last: int, keep_every_nimg: int | None, keep_nimg: int | None = None
) -> None:
    """Removes complete checkpoints beyond the last few, except every so many images and the best.

    `keep_nimg` is the best one's number of images.

    Checkpoints fall where an iteration ends, so the first one at or after each multiple is kept.
    """
    complete = sorted((p for p in numbered(folder) if is_complete(p)), key=lambda p: int(p.name))
    milestones: dict[int, Path] = {}
    if keep_every_nimg:
        for path in complete:
            milestones.setdefault(int(path.name) // keep_every_nimg, path)
    milestones.pop(0, None)
    for path in complete[:-keep_last]:
        if path in milestones.values() or int(path.name) == keep_nimg:
            continue
        # The marker goes first: a kill half-way must not leave a directory that looks complete.
        (path / MARKER).unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)
    for stale in folder.glob(".partial-*"):
        shutil.rmtree(stale, ignore_errors=True)


def set_apart(folder: Path, nimg: int) -> Path | None:
    """Moves complete checkpoints newer than `nimg` to `folder/LEFT-nimg`; None if there are none.

    They are of a branch that the run does not follow: `newest` does not see them there, and the
    numbers are free for the branch that it does follow.
    """
    newer = [p for p in numbered(folder) if int(p.name) > nimg and (p / MARKER).exists()]
    if not newer:
        return None
    names = (f"{LEFT}-{nimg:09d}{suffix}" for suffix in ("", *(f"-{i}" for i in count(2))))
    target = next(folder / name for name in names if not (folder / name).exists())
    target.mkdir()
    # The newest first: a kill on the way leaves what is there whole, and older.
    for path in sorted(newer, key=lambda p: int(p.name), reverse=True):
        path.rename(target / path.name)
    sync(target)
    sync(folder)
    return target


def take_back(folder: Path, chosen: Path) -> Path | None:
    """Follows a branch that was set apart, up to its checkpoint `chosen`; the one that was followed
    until now is set apart instead, and returned.
    """
    left = chosen.parent
    aside = set_apart(folder, int(left.name.removeprefix(f"{LEFT}-").split("-")[0]))
    for path in sorted(numbered(left), key=lambda p: int(p.name)):
        if int(path.name) <= int(chosen.name):
            shutil.rmtree(folder / path.name, ignore_errors=True)  # an incomplete one
            path.rename(folder / path.name)
    with contextlib.suppress(OSError):
        left.rmdir()  # refuses unless it is empty
    sync(folder)
    return aside


def is_left(path: Path, folder: Path) -> bool:
    """Whether a checkpoint is of a branch that was set apart in `folder`."""
    left = path.resolve().parent
    return left.parent == folder.resolve() and left.name.startswith(f"{LEFT}-")


def numbered(folder: Path) -> list[Path]:
    """The directories of `folder` that are named like checkpoints."""
    return [p for p in folder.glob("*") if p.name.isdigit() and p.is_dir()]


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


def on_host(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies that training does not change: all that it has to wait for."""
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in unaliased(tensors).items()
    }


def sync(path: Path) -> None:
    """Makes a file's content, or a directory's entries, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Replaces a small file in one step."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with open(partial, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


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
    write_text(target / MARKER, json.dumps({"written": written, "files": files}, indent=1))
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
