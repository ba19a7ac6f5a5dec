"""Going back to a checkpoint of before an illness, and what is different from there on.

A rollback is a line of health.jsonl, at the number of images where the run went on:
{"event": "rollback", "nimg": 32000, "from_nimg": 64000, "because": "mode_collapse", "number": 1,
 "settings": {"recipe.lr": {"before": [0.0002], "now": 0.0001}}}
Who starts the run again reads the newest such line of its branch: the settings hold from then on,
unless the person who starts it has changed those very settings.
"""

import json
import math
from pathlib import Path

import msgspec
import torch
from jsonargparse import Namespace

from largegan import checkpoint
from largegan.config.changes import STATE, after_rollback, changed, setting
from largegan.config.parse import check_changed
from largegan.errors import HealthStop, shown
from largegan.files.documents import Count, checked
from largegan.files.lines import read_lines
from largegan.health.records import Notice, merged
from largegan.health.verdicts import DISTANCE
from largegan.metrics import table
from largegan.run import branches, history

EVENT = "rollback"


class RolledBack(Exception):
    """The run has turned to an older checkpoint, from which it has to be built anew."""


class Change(msgspec.Struct):
    """A setting since a rollback, and what it was before, by whichever way it was given."""

    before: list[float]
    now: float


class Rollback(msgspec.Struct):
    """The line of a rollback."""

    nimg: Count
    from_nimg: Count
    because: str
    number: Count
    settings: dict[str, Change] = {}
    state: dict[str, float | str] = {}
    event: str = EVENT

    def sentence(self) -> str:
        """For people."""
        new = [f"{name} {change.now:g}" for name, change in self.settings.items()]
        new += [f"{name} {change}" for name, change in self.state.items()]
        return (
            f"rollback {self.number or 'by hand'}: from {self.from_nimg} to {self.nimg} images "
            f"because of {self.because}"
            + (f"; from here on {', '.join(new)}" if new else "; nothing changes")
        )


def rollbacks(log: Path, until_nimg: int | None = None) -> list[Rollback]:
    """Those of a health.jsonl, or of its part until some number of images. Raises DataError."""
    about = {"what": "is not the line of a rollback", "remedy": "remove that line"}
    return [
        checked(line, Rollback, where=shown(log), **about)
        for line in read_lines(log)
        if line.get("event") == EVENT and (until_nimg is None or line["nimg"] <= until_nimg)
    ]


def in_force(run: Path, start: Path) -> Rollback | None:
    """The rollback whose settings hold for a run that goes on from the checkpoint `start`."""
    if not start.name.isdecimal():
        return None
    own = run / "checkpoints"
    if branches.is_left(start, own):
        log = start.parent / "health.jsonl"
    elif start.resolve().parent == own.resolve():
        log = run / "health.jsonl"
    else:
        return None  # a new run, from another one's checkpoint
    return max(rollbacks(log, int(start.name)), key=lambda r: r.number, default=None)


def apply(config: Namespace, found: Rollback) -> list[str]:
    """Gives a configuration the settings of a rollback; says what changed."""
    said = []
    for name, change in found.settings.items():
        value = setting(config, name)
        if value in change.before and value != change.now:
            group, _, key = name.partition(".")
            setattr(getattr(config, group), key, type(value)(change.now))
            said.append(f"  since the rollback at {found.nimg}: {name}: {value} -> {change.now:g}")
        elif value != change.now:
            said.append(f"  {name} is {value}, as given now, not {change.now:g} of the rollback")
    return said


def planned(run: Path, config: Namespace, given: Namespace, notice: Notice, nimg: int) -> Rollback:
    """Where to go back to from `nimg` images, and what changes there.

    `config` is that of the run now, `given` what the person started it with. Raises `HealthStop`
    when that happened too often, or when no checkpoint is older than the illness.
    """
    what = f"{notice.verdict} since {notice.since_nimg} images ({notice.sentence})"
    earlier_ones = rollbacks(run / "health.jsonl")
    number = 1 + max((r.number for r in earlier_ones), default=0)
    if number > config.health.rollback.times:
        raise HealthStop(
            f"{what}, after {number - 1} rollbacks already; look at report.html and change more "
            "than health.rollback.change does, or allow more health.rollback.times"
        )
    to = best_before(run, config, healthy_until(earlier_ones, notice))
    if to is None:
        raise HealthStop(
            f"{what}, and there is no checkpoint of before to go back to; set "
            "train.save_every_nimg lower or train.keep_every_nimg, or start anew"
        )
    new = after_rollback(config)
    check_changed(config, new)
    earlier = in_force(run, run / "checkpoints" / f"{nimg:09d}")
    settings = dict(earlier.settings) if earlier else {}
    for name, value in new.items():
        known = [*settings[name].before, settings[name].now] if name in settings else []
        before = [*known, setting(given, name), setting(config, name)]
        settings[name] = Change(list(dict.fromkeys(before)), value)
    change = config.health.rollback.change
    state = {name: change[name] for name in STATE if name in change}
    return Rollback(to, nimg, notice.verdict, number, settings, state)


def healthy_until(earlier: list[Rollback], notice: Notice) -> int:
    """Until how many images the run was well, as far as is known.

    An illness that came again where it had come before was in that rollback's checkpoint, too,
    whatever had been seen of it there.
    """
    again = [r.nimg for r in earlier
             if r.because == notice.verdict and notice.since_nimg <= r.from_nimg]  # fmt: skip
    return min([notice.since_nimg, *again])


def best_before(run: Path, config: Namespace, nimg: int) -> int | None:
    """The checkpoint with the best score before `nimg` images.

    Where none is scored, that whose samples were nearest to real images when they were looked at
    last, and where nobody looked the newest. None: there is none.
    """
    own = run / "checkpoints"
    older = [int(p.name) for p in checkpoint.numbered(own)
             if int(p.name) < nimg and checkpoint.is_complete(p)]  # fmt: skip
    if config.evaluate.every_nimg is not None and table.is_score(config.evaluate.best):
        best = history.best(run, config.evaluate.best, until_nimg=nimg - 1)
        if best is not None:
            return int(best["nimg"])
    looks = [line for line in merged(read_lines(run / "metrics.jsonl")) if DISTANCE in line]
    return max(older, key=lambda saved: (-last_distance(looks, saved), saved), default=None)


def last_distance(looks: list[dict], nimg: int) -> float:
    """Of samples to real images, when they were looked at last until some number of images."""
    return next((line[DISTANCE] for line in reversed(looks) if line["nimg"] <= nimg), math.inf)


def turn(run: Path, found: Rollback) -> list[str]:
    """Makes the run go on from there; says so."""
    start = run / "checkpoints" / f"{found.nimg:09d}"
    line = json.loads(msgspec.json.encode(found))
    return [found.sentence(), *branches.follow(run, start, line)]


@torch.no_grad()
def change_state(model: dict[str, torch.Tensor], start: Path, found: Rollback | None) -> None:
    """Changes numbers of a checkpoint that are no settings: once, where the rollback led to."""
    if found is None or int(start.name) != found.nimg:
        return
    for name, change in found.state.items():
        buffer, least, most = STATE[name]
        if buffer in model:
            new = changed(name, float(model[buffer]), change)
            model[buffer] = torch.full_like(model[buffer], min(max(new, least), most))
