"""One writer per run directory: a lock that knows whether its holder still lives, on any disk.

Locks of the operating system do not reach over every cluster file system, and a file that only
says "locked" outlives a crash. So `RUN/.lock` says who holds it, its time stamp moves while the
holder lives, and a newcomer decides from that. Nobody's clock is compared with another machine's.
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from pathlib import Path
from typing import Annotated

import msgspec

from largegan.errors import DataError, EnvironmentFault
from largegan.files.documents import LARGEST, parse_document, read_bounded

NAME = ".lock"
BEAT_S = 5.0  # the holder moves the time stamp this often
ENDED = "ZX"  # states of a process; in containers nobody may ever collect what was killed
PATIENCE_S = 20.0  # a stamp that stands still for so long belongs to a process that is gone


class Holder(msgspec.Struct):
    """Who holds a lock; see `identity`."""

    token: Annotated[str, msgspec.Meta(pattern=r"^\w{1,64}\Z")]  # it becomes a part of a name
    host: str
    pid: int | None
    started: str | None
    boot: str | None
    pids: str | None
    job: str | None
    start: int


# Of a lock that says nothing: a disk was full, or a machine lost its power.
NOBODY = Holder("nobody", "an unknown machine", None, None, None, None, None, 0)


class RunLock:
    """Held from `acquire` to `release`; `check` before each write that must not collide."""

    def __init__(self, *, beat_s: float = BEAT_S, patience_s: float = PATIENCE_S):
        self.beat_s, self.patience_s = beat_s, patience_s
        self.token = secrets.token_hex(8)
        self.path: Path | None = None
        self.made: list[Path] = []  # folders that were not there before
        self._over = threading.Event()

    def acquire(self, folder: Path) -> None:
        """Claims a run directory, creating it. Raises `EnvironmentFault` when another run has it.

        A lock whose holder is gone is taken over; so is one of an earlier start of the same SLURM
        job, whose processes may live on a node that was cut off: `check` stops those.
        """
        path = folder / NAME
        if self.path == path:
            return  # this process has it: a run that goes on from an older checkpoint
        mine = {"token": self.token, **identity()}
        self.made = [f for f in (folder, *folder.parents) if not f.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            take(path, mine, self.patience_s)
        except _HeldError as held:
            raise EnvironmentFault(
                f"{folder} is being written by another run ({describe(held.holder)}); wait for "
                "it, stop it, or choose another --run.dir"
            ) from None
        except OSError as fault:
            self._remove_empty()
            raise EnvironmentFault(
                f"cannot write run directory {folder}: {fault.strerror or fault}; choose a "
                "writable --run.dir with free space"
            ) from fault
        self.path = path
        threading.Thread(target=self._beat, daemon=True).start()

    def check(self) -> None:
        """Raises `EnvironmentFault` when somebody took this run over; nothing may be written then.

        A process that does not hold the lock (a rank other than 0) has nothing to check.
        """
        if self.path is None:
            return
        holder = read(self.path)
        if holder and holder["token"] != self.token:
            raise EnvironmentFault(
                f"{self.path.parent} was taken over by another start of this run "
                f"({describe(holder)}); this one stops and leaves it alone"
            )

    def release(self) -> None:
        """Gives the directory back, and removes what was made for it if nothing is there."""
        self._over.set()
        if self.path is None:
            return
        holder = read(self.path)
        if holder and holder["token"] == self.token:
            with contextlib.suppress(OSError):
                self.path.unlink()
            self._remove_empty()
        self.path = None

    def _remove_empty(self) -> None:
        with contextlib.suppress(OSError):
            for folder in self.made:
                folder.rmdir()  # refuses unless it is empty

    def _beat(self) -> None:
        while not self._over.wait(self.beat_s):
            with contextlib.suppress(OSError):
                os.utime(self.path)


class _HeldError(Exception):
    """Somebody who lives has a lock."""

    def __init__(self, holder: dict):
        super().__init__(describe(holder))
        self.holder = holder


def take(path: Path, mine: dict, patience_s: float) -> None:
    """Makes the lock `path` mine; raises `_HeldError` when somebody who lives has it.

    Several newcomers may find the same abandoned lock. Who replaces it first has to hold a lock on
    doing so, named after the holder that is gone: the others find another holder in its place.
    """
    while not _create(path, mine):
        holder = read(path)
        if holder is None:  # it has just been given back
            continue
        if not abandoned(path, holder, mine, patience_s):
            raise _HeldError(holder)
        succession = path.with_name(f"{path.name}.after-{holder['token']}")
        take(succession, mine, patience_s)
        try:
            if (now := read(path)) and now["token"] != holder["token"]:
                raise _HeldError(now)
            _replace(path, mine)
            return
        finally:
            succession.unlink(missing_ok=True)


def identity() -> dict:
    """Who this process is, so that others can tell whether it still lives."""
    me = {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}
    for name, file in (("boot", "/proc/sys/kernel/random/boot_id"), ("pids", "/proc/self/ns/pid")):
        try:
            me[name] = os.readlink(file) if name == "pids" else Path(file).read_text().strip()
        except OSError:
            me[name] = None
    me["job"] = os.environ.get("SLURM_JOB_ID")
    me["start"] = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    return me


def abandoned(path: Path, holder: dict, me: dict, patience_s: float) -> bool:
    """Whether the holder of a lock is gone, or is an earlier start of my own job."""
    if holder["job"] and holder["job"] == me["job"] and holder["start"] < me["start"]:
        return True
    if all(holder[key] == me[key] for key in ("host", "boot", "pids")):
        return _started(holder["pid"]) != holder["started"]
    before = _stamp(path)
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if _stamp(path) != before:
            return False
        time.sleep(0.2)
    return True


def describe(holder: dict) -> str:
    job = f"job {holder['job']}, " if holder["job"] else ""
    return f"{job}process {holder['pid']} on {holder['host']}"


def read(path: Path) -> dict | None:
    """What a lock says; None when there is none (its holder has just finished)."""
    try:
        data = read_bounded(path, LARGEST, "remove it")
        holder = parse_document(data, Holder, where=str(path), what="is no lock", remedy="remove")
    except FileNotFoundError:
        return None
    except DataError:
        holder = NOBODY
    return msgspec.to_builtins(holder)


def _create(path: Path, content: dict) -> bool:
    """Makes the lock with its content in one step; False when it is there already."""
    partial = path.with_name(f"{NAME}.{content['token']}")
    try:
        partial.write_text(json.dumps(content))
        return _linked(partial, path, content)
    finally:
        partial.unlink(missing_ok=True)


def _linked(partial: Path, path: Path, content: dict) -> bool:
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        with contextlib.suppress(FileExistsError), open(path, "x") as file:
            json.dump(content, file)
            return True
        return False
    return True


def _replace(path: Path, content: dict) -> None:
    partial = path.with_name(f"{NAME}.{content['token']}")
    try:
        partial.write_text(json.dumps(content))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _stamp(path: Path) -> int | None:
    """The time stamp as the file server has it: opening a file asks it."""
    try:
        with open(path) as file:
            return os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None


def _started(pid: int) -> str | None:
    """When a process started, in ticks since boot, so that a recycled number is no proof of life.

    None when there is no such process, or one that has ended and that its parent has not asked
    about; "?" where /proc does not exist but the process does.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in ENDED else fields[19]
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return "?"
