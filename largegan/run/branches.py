"""Branches of a run: the one that goes on, and what was left of the others.

RUN/checkpoints/left-from-000032000/            of a branch that the run left at 32000 images
    000064000/                                  its checkpoints
    samples/, snapshots/                        what it drew after that
    metrics.jsonl, health.jsonl                 its logs until the run left it
RUN/checkpoints/turn.json                       where the run is going, until everything has moved

A run that turns to an older checkpoint writes down first what is going to happen. Every step after
that may be done twice, so a kill on the way loses nothing: the next start finishes the turn.
"""

import contextlib
import json
import shutil
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path
from typing import Annotated, Any

import msgspec

from largegan import checkpoint
from largegan.errors import shown
from largegan.files.documents import Count, read_document
from largegan.files.output import MARK, faults, write_text
from largegan.run import snapshots

LEFT = "left-from"  # and the number where the run left that branch
TURN = "turn.json"
LOGS = ("metrics.jsonl", "health.jsonl")
FAKES = "fakes-*.png"
AGAIN = "make room and continue with --run.resume auto"
BranchName = Annotated[str, msgspec.Meta(pattern=rf"^{LEFT}-[0-9]{{1,18}}(-[0-9]{{1,18}})?$")]


class Turn(msgspec.Struct):
    """A turn that has begun: the run goes on at `to` images.

    What is newer than `fork` goes into the folder `aside`, if one is named. `back` is the branch
    that is followed from there on, if it is not the run's own. `event` ends health.jsonl. `parted`
    says that nothing has to go aside any more: what is newer then has come back.
    """

    to: Count
    fork: Count
    aside: BranchName | None = None
    back: BranchName | None = None
    event: dict[str, Any] | None = None
    parted: bool = False


def follow(run: Path, start: Path, event: dict[str, Any] | None = None) -> list[str]:
    """Makes the checkpoint that a run goes on from its newest one; says what was set apart for it.

    Called when everything is ready to go on from there, before anything else is written. `event`
    is a line for health.jsonl.
    """
    own = run / "checkpoints"
    turn = planned(own, start, event)
    if turn is None:
        return []
    note(own, turn)
    return finish(run)


def note(own: Path, turn: Turn) -> None:
    """Writes down how far a turn has come."""
    write_text(own / TURN, json.dumps(msgspec.to_builtins(turn), indent=1))


def planned(own: Path, start: Path, event: dict[str, Any] | None) -> Turn | None:
    """What has to happen so that a run goes on from `start`; None when nothing has to."""
    to = int(start.name) if start.name.isdecimal() else 0
    if is_left(start, own):
        back = start.resolve().parent.name
        fork = forked_at(back)
    elif start.resolve().parent == own.resolve():
        back, fork = None, to
    else:
        return None  # a new run, from another one's checkpoint
    aside = free_name(own, fork) if event or newer(own, fork) else None
    if aside is None and back is None:
        return None
    return Turn(to, fork, aside, back, event)


def finish(run: Path) -> list[str]:
    """Carries out the turn that was begun, from wherever it was interrupted; says what was done.

    Raises DataError for a damaged note of a turn, and EnvironmentFault when the disk refuses.
    """
    own = run / "checkpoints"
    for partial in (*own.glob(f".{MARK}-*"), *own.glob(f"{LEFT}-*/.{MARK}-*"),
                    *run.glob(f".{MARK}-*.jsonl")):  # fmt: skip
        partial.unlink()  # of a start that was killed: nobody else writes here
    try:
        about = {"what": "is not the note of a turn", "remedy": "remove it and resume by a PATH"}
        turn = read_document(own / TURN, Turn, **about)
    except FileNotFoundError:
        return []
    with faults(own, AGAIN):
        carry_out(run, turn)
        (own / TURN).unlink()
        checkpoint.sync(own)
    if turn.aside is None:
        return []
    return [
        f"this run goes on from {turn.to:09d}: its newer checkpoints, and its logs until now, are "
        f"kept in {own / turn.aside}, where --run.resume auto does not see them"
    ]


def carry_out(run: Path, turn: Turn) -> None:
    """All steps of a turn, each of which may have been done already."""
    own = run / "checkpoints"
    if turn.aside is not None and not turn.parted:
        set_apart(run, own / turn.aside, turn.fork)
        note(own, msgspec.structs.replace(turn, parted=True))
    logs = run if turn.back is None else own / turn.back
    if turn.back is not None:
        take_back(run, logs, turn.to)
    for log in LOGS:
        event = turn.event if log == "health.jsonl" else None
        rewrite(logs / log, run / log, turn.to, event)


def set_apart(run: Path, aside: Path, fork: int) -> None:
    """Moves what is newer than `fork` images into `aside`, with a copy of the logs."""
    aside.mkdir(exist_ok=True)
    for log in LOGS:
        if not (aside / log).exists():
            text = (run / log).read_text() if (run / log).exists() else ""
            write_text(aside / log, text)
    move(newer(run / "checkpoints", fork), aside)
    for name, pattern in (("samples", FAKES), (snapshots.FOLDER, f"*{snapshots.SUFFIX}")):
        move((p for p in (run / name).glob(pattern) if number(p) > fork), aside / name)
    checkpoint.sync(aside)


def take_back(run: Path, left: Path, to: int) -> None:
    """Moves what a left branch has until `to` images to where the run has it."""
    own = run / "checkpoints"
    found = [p for p in checkpoint.numbered(left) if int(p.name) <= to]
    for path in found:
        shutil.rmtree(own / path.name, ignore_errors=True)  # an incomplete one
    move(found, own)
    for name in ("samples", snapshots.FOLDER):
        move((p for p in (left / name).glob("*") if number(p) <= to), run / name)


def move(paths: Iterable[Path], folder: Path) -> None:
    """Into a folder, the newest first."""
    for path in sorted(paths, key=number, reverse=True):
        folder.mkdir(exist_ok=True)
        path.rename(folder / path.name)
    if folder.exists():
        checkpoint.sync(folder)


def rewrite(source: Path, log: Path, nimg: int, event: dict[str, Any] | None) -> None:
    """Makes a log of the lines that another (or itself) has until `nimg` images, and an event."""
    kept = lines_until(source, nimg) if source.exists() else []
    if event is not None:
        kept = [line for line in kept if json.loads(line) != event] + [json.dumps(event)]
    if kept or log.exists():
        write_text(log, "".join(f"{line}\n" for line in kept))


def lines_until(log: Path, nimg: int) -> list[str]:
    """Lines of a log without those that were written later, and without one that is cut short."""
    kept = []
    for line in log.read_text().splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            if json.loads(line)["nimg"] <= nimg:
                kept.append(line)
    return kept


def newer(own: Path, nimg: int) -> list[Path]:
    """Checkpoints that were written whole after `nimg` images."""
    marked = (p for p in checkpoint.numbered(own) if (p / checkpoint.MARKER).exists())
    return [p for p in marked if int(p.name) > nimg]


def number(path: Path) -> int:
    """Images seen, of a name such as 000064000 or fakes-000064000.png; -1: none."""
    digits = path.stem.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else -1


def free_name(own: Path, fork: int) -> str:
    """Of a folder for the branch that is left at `fork` images."""
    name = f"{LEFT}-{fork:09d}"
    names = chain([name], (f"{name}-{i}" for i in count(2)))
    return next(name for name in names if not (own / name).exists())


def forked_at(name: str) -> int:
    """left-from-000032000-2 -> 32000."""
    return int(name.removeprefix(f"{LEFT}-").split("-")[0])


def is_left(path: Path, own: Path) -> bool:
    """Whether a checkpoint is of a branch that was set apart in `own`."""
    left = path.resolve().parent
    return left.parent == own.resolve() and left.name.startswith(f"{LEFT}-")


def left_branches(run: Path) -> list[str]:
    """The names of those that were set apart."""
    return sorted(shown(p.name) for p in (run / "checkpoints").glob(f"{LEFT}-*") if p.is_dir())
