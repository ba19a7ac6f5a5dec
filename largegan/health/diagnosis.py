"""Verdicts as they begin and end, line by line of metrics.jsonl.

Nothing is remembered but lines that are in that file, so a run that goes on after a kill reads them
again and is where it was.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any

from largegan.health.records import Notice, Remedy
from largegan.health.remedies import remedies
from largegan.health.signals import PREFIX, SIGNALS
from largegan.health.verdicts import VERDICTS, Finding, Line, Verdict, judge_of

SCORE = "score/"
RARE = [name for name, row in SIGNALS.items() if not row.often]


def counts(line: Mapping[str, Any]) -> bool:
    """Whether a line of metrics.jsonl says something of health."""
    return any(key.startswith((PREFIX, SCORE)) for key in line)


class Diagnosis:
    """The verdicts on one run.

    Args:
        settings: all of the run by their dotted names, for remedies.
    """

    def __init__(self, settings: Mapping[str, Any]):
        self.settings = settings
        # The last lines that have what a verdict needs, each with what was last seen of samples.
        self.windows = {name: deque(maxlen=row.window) for name, row in VERDICTS.items()}
        self.looked: dict[str, float] = {}  # what the last look at samples said
        self.streaks: dict[str, list[int]] = {}  # images at lines in a row that look ill, or well
        self.open: dict[str, Notice] = {}

    def replay(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Lines of the past, one for each number of images: what was said of them is known."""
        for line in lines:
            if counts(line):
                self.add(line)

    def add(self, line: Mapping[str, Any]) -> list[Notice]:
        """What begins and ends with this line."""
        known = {key: value for key, value in line.items() if is_number(value)}
        filled = self.looked | known
        self.looked = {key: filled[key] for key in RARE if key in filled}
        found = [self.turn(name, filled) for name, row in VERDICTS.items() if news(known, row)]
        return [notice for notice in found if notice is not None]

    def turn(self, name: str, line: Line) -> Notice | None:
        """Whether one verdict begins or ends with a new line."""
        verdict = VERDICTS[name]
        self.windows[name].append(line)
        finding = judge_of(name)(list(self.windows[name]))
        ill = name in self.open
        if (finding is not None) == ill:
            self.streaks.pop(name, None)
            return None
        nimg = int(line["nimg"])
        streak = self.streaks.setdefault(name, [])
        streak.append(nimg)
        if len(streak) < verdict.lasts:
            return None
        del self.streaks[name]
        if finding is None:
            return self.ends(name, verdict, line)
        return self.begins(name, finding, since=streak[0], nimg=nimg)

    def begins(self, name: str, finding: Finding, *, since: int, nimg: int) -> Notice:
        """A verdict that holds from now on."""
        self.open[name] = Notice(
            nimg,
            name,
            "begins",
            since,
            round(finding.confidence, 2),
            finding.evidence,
            finding.sentence,
            tuple(remedies(name, self.settings)),
        )
        return self.open[name]

    def ends(self, name: str, verdict: Verdict, newest: Line) -> Notice:
        """A verdict that held until now."""
        before = self.open.pop(name)
        return Notice(
            int(newest["nimg"]),
            name,
            "ends",
            before.since_nimg,
            before.confidence,
            {key: newest[key] for key in verdict.needs},
            f"{verdict.title} no longer",
        )


def news(line: Line, verdict: Verdict) -> bool:
    """Whether a line brings what a verdict is about."""
    return all(key in line for key in verdict.needs)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and isfinite(value)


def sentence(notice: Notice) -> str:
    """For people: what began or ended, and what to try."""
    if notice.state == "ends":
        return f"health: {notice.sentence} (at {notice.nimg} images)"
    tries = "; ".join(f"{flags(remedy)} ({remedy.why})" for remedy in notice.remedies[:3])
    return (
        f"health: {VERDICTS[notice.verdict].title} since {notice.since_nimg} images "
        f"(confidence {notice.confidence:.0%}): {notice.sentence}"
        + (f"; worth a try: {tries}" if tries else "")
    )


def flags(remedy: Remedy) -> str:
    """As on the command line: --recipe.lr 0.0001."""
    return " ".join(f"--{name} {value}" for name, value in remedy.settings.items())
