"""Verdicts as they begin and end, line by line of metrics.jsonl.

Nothing is remembered but lines that are in that file, so a run that goes on after a kill reads them
again and is where it was.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from largegan.health.records import Notice, Remedy
from largegan.health.remedies import remedies
from largegan.health.signals import PREFIX
from largegan.health.verdicts import VERDICTS, Finding, Line, Verdict, judge_of

SCORE = "score/"


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
        # The last lines that have all that a verdict needs.
        self.windows = {name: deque(maxlen=row.window) for name, row in VERDICTS.items()}
        self.streaks: dict[str, list[int]] = {}  # images at lines in a row that look ill, or well
        self.open: dict[str, Notice] = {}

    def replay(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Lines of the past, one for each number of images: what was said of them is known."""
        for line in lines:
            if counts(line):
                self.add(line)

    def add(self, line: Mapping[str, Any]) -> list[Notice]:
        """What begins and ends with this line."""
        found = [self.turn(name, line) for name in VERDICTS]
        return [notice for notice in found if notice is not None]

    def turn(self, name: str, line: Line) -> Notice | None:
        """Whether one verdict begins or ends with a new line."""
        verdict = VERDICTS[name]
        if not all(key in line for key in verdict.needs):
            return None  # nothing new
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
