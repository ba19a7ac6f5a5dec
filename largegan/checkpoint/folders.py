"""Directories of checkpoints: which are complete, which is the newest, which are to go."""

import contextlib
import os
import shutil
from pathlib import Path

import msgspec

from largegan.errors import ConfigError, DataError, reason
from largegan.files.digests import sha256_of
from largegan.files.documents import Count, FileName, Sha256, read_document

MARKER = "COMPLETE"


OLDER = "take an older checkpoint"
MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"


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
