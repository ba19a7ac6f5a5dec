"""Checkpoints: directories that are either complete or ignored. Tensors and JSON, never pickle.

RUN/checkpoints/000064000/      named by images seen
    model.safetensors           everything the recipe registers
    optimizer.safetensors       player/parameter/field
    state.json                  progress, data position, counters
    COMPLETE                    written last: size and sha256 of every file above
"""

import contextlib
import errno
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from largegan.checkpoint.folders import (
    MARKER,
    MODEL,
    OLDER,
    OPTIMIZER,
    STATE,
    damage,
    is_complete,
    newest,
    numbered,
    parts_of_run,
    prune,
    read_marker,
    resolve,
    sweep,
)
from largegan.checkpoint.state import Spec, check_resumable, check_state, read_state
from largegan.errors import ConfigError, DataError, EnvironmentFault, shown
from largegan.files.digests import sha256_of
from largegan.files.tensors import read_tensors

__all__ = [
    "MARKER",
    "MODEL",
    "OLDER",
    "OPTIMIZER",
    "STATE",
    "Checkpoint",
    "Spec",
    "check_model",
    "check_optimizer",
    "check_resumable",
    "check_state",
    "damage",
    "is_complete",
    "load",
    "newest",
    "numbered",
    "on_host",
    "parts_of_run",
    "prune",
    "read_marker",
    "read_state",
    "resolve",
    "save",
    "sweep",
    "sync",
    "unaliased",
]


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
        with _gone_if_it_fails(partial, target):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            _write_files(partial, content)
            shutil.rmtree(target, ignore_errors=True)  # an incomplete one from a killed run
            partial.rename(target)
            sync(folder)
            _write_marker(target)
    except OSError as fault:
        raise EnvironmentFault(_disk_sentence(target, fault)) from fault
    except SafetensorError as fault:  # its writer wraps the operating system's error
        raise EnvironmentFault(f"cannot write {target}: {fault}; free space and resume") from fault
    return target


@contextlib.contextmanager
def _gone_if_it_fails(*folders: Path) -> Iterator[None]:
    """Around the writing of a checkpoint that was not there: of a part of one nothing stays."""
    try:
        yield
    except BaseException:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def load(path: Path) -> Checkpoint:
    """Reads a complete checkpoint; `DataError` names the file that is missing or damaged."""
    fault = damage(path)
    if fault:
        raise DataError(f"checkpoint {path} {fault}; resume from an older one")
    return Checkpoint(
        model=read_tensors(path / MODEL, remedy=OLDER),
        optimizer=read_tensors(path / OPTIMIZER, remedy=OLDER),
        state=read_state(path),
    )


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


def check_optimizer(
    path: Path, saved: dict[str, Tensor], wanted: dict[str, dict[str, Tensor]]
) -> None:
    """Refuses optimizer states of other players or parameters. Raises ConfigError.

    `wanted` has each player's parameters by name.
    """
    hint = "use the configuration of that run (its config.yaml), or start anew"
    for key, value in saved.items():
        player, _, rest = key.partition("/")
        name, _, field = rest.rpartition("/")
        if player not in wanted or name not in wanted[player] or not field:
            raise ConfigError(
                f"checkpoint {path} holds {shown(key)} for an optimizer, unknown to this recipe; "
                f"{hint}"
            )
        if value.numel() != 1 and value.shape != wanted[player][name].shape:
            raise ConfigError(
                f"checkpoint {path} holds {shown(key)} as {list(value.shape)}, its parameter is "
                f"{list(wanted[player][name].shape)}; {hint}"
            )


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


def _write_files(folder: Path, content: Checkpoint) -> None:
    save_file(_to_host(content.model), folder / MODEL)
    save_file(_to_host(content.optimizer), folder / OPTIMIZER)
    (folder / STATE).write_text(json.dumps(content.state, indent=1, sort_keys=True))
    for name in (MODEL, OPTIMIZER, STATE):
        sync(folder / name)


def _write_marker(target: Path) -> None:
    files = {
        name: {"bytes": (target / name).stat().st_size, "sha256": sha256_of(target / name)}
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


def _disk_sentence(target: Path, fault: OSError) -> str:
    free = "?"
    with contextlib.suppress(OSError):
        free = f"{shutil.disk_usage(target.parent).free / 2**20:.0f} MiB"
    why = "the disk is full" if fault.errno == errno.ENOSPC else str(fault)
    return (
        f"cannot write checkpoint {target}: {why} ({free} free); earlier checkpoints are intact, "
        "make room and continue with --run.resume auto"
    )
