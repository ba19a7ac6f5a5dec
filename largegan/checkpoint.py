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
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from largegan.errors import ConfigError, DataError, EnvironmentFault, reason, shown
from largegan.files.digests import sha256_of
from largegan.files.documents import Count, FileName, Positive, Sha256, checked, read_document
from largegan.files.tensors import read_tensors

MARKER = "COMPLETE"
OLDER = "take an older checkpoint"
Side = Annotated[int, Meta(ge=1, le=1 << 16)]
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


class Spec(msgspec.Struct, forbid_unknown_fields=True):
    """A `DataSpec` in a file."""

    channels: Annotated[int, Meta(ge=1, le=1 << 12)]
    height: Side
    width: Side
    num_classes: Annotated[int, Meta(ge=0, le=1 << 20)] = 0
    channels_b: Annotated[int, Meta(ge=0, le=1 << 12)] = 0
    condition_dim: Annotated[int, Meta(ge=0, le=1 << 16)] = 0
    latent_scale: Annotated[float, Meta(ge=0, le=1e9)] = 0.0


Shard = Annotated[str, Meta(pattern="^[0-9]{1,9}$")]


class Position(msgspec.Struct):
    """Where a stream of data was; without an identity, of data that were elsewhere (imports)."""

    position: Count
    seed: int
    identity: str | None
    count: Count | None = None  # images of the set
    learned: dict[Shard, Count] = {}  # samples of shards that have no index


class Positions(msgspec.Struct):
    """Where two streams were that know nothing of each other."""

    a: Position
    b: Position


class BadSteps(msgspec.Struct):
    """Steps that were skipped."""

    total: Count = 0
    in_a_row: dict[str, Count] = {}


class Sums(msgspec.Struct):
    """What happened since the last line of metrics.jsonl."""

    sums: dict[str, float]
    counts: dict[str, Positive]


class HealthSums(msgspec.Struct):
    """Signals since the last line of the log, by phase: sums, and how often."""

    scores: dict[str, list[float]] = {}
    norms: dict[str, list[float]] = {}


class State(msgspec.Struct):
    """What has to be in `state.json`; the configuration is checked by who builds from it."""

    config: dict[str, dict[str, Any]]
    spec: Spec
    class_names: list[str] = []
    label_counts: list[Count] = []  # samples of each class in the training data


class Resumable(State, kw_only=True):
    """What a run needs besides, to go on."""

    step: Count
    nimg: Count
    data: dict[str, Any]
    bad_steps: BadSteps
    micro_batch_size: Positive
    tally: Sums | None = None  # checkpoints of before have none
    health: HealthSums = msgspec.field(default_factory=HealthSums)


def read_state(path: Path) -> dict:
    """The `state.json` of a checkpoint, as it is; see `check_state`. Raises DataError."""
    about = {"what": "is not the state of a run", "remedy": OLDER}
    try:
        return read_document(path / STATE, dict[str, Any], **about)
    except FileNotFoundError:
        raise DataError(f"checkpoint {path} lacks {STATE}; {OLDER}") from None


def check_resumable(path: Path, state: dict) -> dict:
    """The state of the checkpoint `path`, if a run can go on from it. Raises DataError."""
    about = {"what": "is not the state of a run", "remedy": OLDER}
    where = str(path / STATE)
    found = checked(check_state(path, state), Resumable, where=where, **about)
    checked(found.data, Positions if "a" in found.data else Position, where=where, **about)
    if found.tally and found.tally.sums.keys() != found.tally.counts.keys():
        raise DataError(f"{where} counts other numbers than it sums; {OLDER}")
    return state


def check_state(path: Path, state: dict) -> dict:
    """The state of the checkpoint `path`, if a recipe can be built from it. Raises DataError."""
    about = {"what": "is not the state of a run", "remedy": OLDER}
    where = str(path / STATE)
    found = checked(state, State, where=where, **about)
    checked(found.config.get("recipe", {}), Named, where=where, **about)
    if found.class_names and len(found.class_names) < found.spec.num_classes:
        raise DataError(f"{where} names {len(found.class_names)} of its classes; {OLDER}")
    if found.label_counts and len(found.label_counts) != found.spec.num_classes:
        raise DataError(f"{where} counts the samples of {len(found.label_counts)} classes; {OLDER}")
    return state


class Named(msgspec.Struct):
    """The group `recipe` of a configuration."""

    name: str


class FileFacts(msgspec.Struct):
    """A file in a marker."""

    bytes: Count
    sha256: Sha256


class Marker(msgspec.Struct):
    """The file COMPLETE."""

    files: dict[FileName, FileFacts]


def read_marker(path: Path) -> Marker:
    """Which files a complete checkpoint has. Raises DataError, FileNotFoundError."""
    where = path / MARKER
    found = read_document(where, Marker, what="is not what a run writes", remedy=OLDER)
    lacking = [name for name in (MODEL, OPTIMIZER, STATE) if name not in found.files]
    if lacking or any("/" in name or name in (".", "..") for name in found.files):
        what = f"does not name {lacking[0]}" if lacking else "names files elsewhere"
        raise DataError(f"{where} {what}; {OLDER}")
    return found


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


def parts_of_run(path: Path) -> list[Path]:
    """What must not be written into while a checkpoint or a run is read: their own folders.

    Exported and published folders, which have a config.json, are read as a whole, too.
    """
    if any((path / name).exists() for name in (STATE, MARKER, "config.json")):
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
    if keep_every_nimg:
        for path in complete:
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
        marker = read_marker(path)
    except FileNotFoundError:
        return f"has no {MARKER} marker (the run was stopped while writing it)"
    except DataError:
        return f"has an unreadable {MARKER} marker"
    try:
        for name, facts in marker.files.items():
            file = path / name
            if not file.is_file():
                return f"lacks {name}"
            if file.stat().st_size != facts.bytes:
                return f"has a truncated {name} ({file.stat().st_size} of {facts.bytes} bytes)"
            if hashes and sha256_of(file) != facts.sha256:
                return f"has a damaged {name} (its sha256 is not the recorded one)"
    except OSError as fault:
        return f"cannot be read ({reason(fault)})"
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
