"""The run directory: free, writable, and large enough for the checkpoints that will be kept."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from largegan.doctor.finding import Finding, Visit
from largegan.run import directory
from largegan.run.saver import checkpoint_bytes


def check_run_directory(visit: Visit) -> Iterator[Finding]:
    if not visit.config:
        return
    settings = visit.config.run
    folder = Path(settings.dir) if settings.dir else directory.fresh_name(visit.config)
    directory.refuse_strangers(folder)
    if settings.resume == "never" and directory.is_run(folder):
        remedy = "train with --run.resume auto to continue it, or choose another --run.dir"
        yield Finding("warn", "run directory", f"{folder} already holds a run", remedy)
    place = nearest_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as fault:
        facts = f"cannot write in {place} ({fault.strerror})"
        yield Finding("FAIL", "run directory", facts, "choose a writable --run.dir")
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


def nearest_folder(path: Path) -> Path:
    """The path, or the first of its parents that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def readable(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
