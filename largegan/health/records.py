"""What a run writes about its health, and who reads it again.

Signals are numbers of metrics.jsonl whose names begin with `health/` (`signals.SIGNALS`). A verdict
that begins or ends is a line of health.jsonl, a `Notice`; other lines there are events of single
steps, which have "event" and no "verdict".
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from largegan.errors import shown
from largegan.files.documents import checked
from largegan.files.lines import REMEDY, read_lines

Setting = str | float | int | bool | None


@dataclass(frozen=True)
class Remedy:
    """Settings that are worth a try, and what for: {"recipe.lr": 1e-4}."""

    settings: Mapping[str, Setting]
    why: str


@dataclass(frozen=True)
class Notice:
    """A verdict begins, or ends.

    `since_nimg` is the first log line that showed the illness: a verdict begins some images later,
    when that has lasted. `confidence` is between 0 and 1. `evidence` are signals by their names in
    metrics.jsonl. Where a verdict ends, evidence shows why, and there are no remedies.
    """

    nimg: int
    verdict: str
    state: Literal["begins", "ends"]
    since_nimg: int
    confidence: float
    evidence: Mapping[str, float]
    sentence: str
    remedies: tuple[Remedy, ...] = field(default=())

    def line(self) -> dict[str, Any]:
        """As health.jsonl holds it."""
        return asdict(self)


def notice_of(line: Mapping[str, Any], where: str) -> Notice | None:
    """What a line of health.jsonl says; None for events of single steps. Raises DataError."""
    if "verdict" not in line:
        return None
    about = {"what": "holds no verdict", "remedy": REMEDY}
    return checked(dict(line), Notice, where=where, **about)


def notices_of(lines: Iterable[Mapping[str, Any]], path: Path) -> list[Notice]:
    """The verdicts among the lines of a health.jsonl, in their order. Raises DataError."""
    found = (notice_of(line, f"{shown(path)}, line {i},") for i, line in enumerate(lines, 1))
    return [notice for notice in found if notice is not None]


def read_notices(run: Path) -> list[Notice]:
    """All verdicts of a run, in the order of time. Raises DataError."""
    path = run / "health.jsonl"
    return notices_of(read_lines(path), path)


def merged(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One line for each number of images: scores and signals of the same moment together."""
    by_nimg: dict[int, dict[str, Any]] = {}
    for line in lines:
        if isinstance(line.get("nimg"), int):
            by_nimg.setdefault(line["nimg"], {}).update(line)
    return [by_nimg[nimg] for nimg in sorted(by_nimg)]


def still_there(notices: list[Notice]) -> list[Notice]:
    """The verdicts that have begun and not ended, oldest first."""
    open_: dict[str, Notice] = {}
    for notice in notices:
        open_.pop(notice.verdict, None)
        if notice.state == "begins":
            open_[notice.verdict] = notice
    return list(open_.values())


def bands(notices: list[Notice]) -> list[tuple[Notice, int | None]]:
    """Each verdict that began, with the number of images where it ended; None: it has not."""
    found: list[tuple[Notice, int | None]] = []
    for notice in notices:
        if notice.state == "begins":
            found.append((notice, None))
            continue
        for i, (begun, end) in enumerate(found):
            if begun.verdict == notice.verdict and end is None:
                found[i] = (begun, notice.nimg)
    return found
