"""What a report shows of a run: plain values, wherever they were read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One setting; `default` is that of its recipe or group."""

    name: str
    value: Any
    default: Any

    @property
    def changed(self) -> bool:
        return self.value != self.default


@dataclass(frozen=True)
class Score:
    """How a score of metrics.jsonl is shown: `name` is its key there, `error` that of its error."""

    name: str
    title: str
    error: str | None
    better: str  # "lower" or "higher"


@dataclass(frozen=True)
class Band:
    """An illness: from `begin` to `end` images (None: it has not ended)."""

    verdict: str
    title: str
    begin: int
    end: int | None
    confidence: float
    sentence: str
    evidence: Mapping[str, float] = field(default_factory=dict)
    remedies: Sequence[tuple[str, str]] = ()  # words of a command line, and why


@dataclass(frozen=True)
class Run:
    """One run, as far as it has come."""

    name: str
    folder: str  # as commands name it
    recipe: str
    state: str  # "finished", "running", "stopped"
    nimg: int
    total_nimg: int
    settings: Sequence[Setting]
    facts: Mapping[str, str]  # of the machine and the software
    lines: Sequence[Mapping[str, Any]]  # of metrics.jsonl
    scores: Sequence[Score]
    meanings: Mapping[str, str]  # names of metrics.jsonl -> what they are
    bands: Sequence[Band]
    events: Sequence[tuple[int, str]]  # skipped steps and rollbacks: images, what happened
    pictures: Sequence[tuple[int, Path]]  # by images seen
    reals: Path | None
    best: Mapping[str, Any] | None  # the line of the best score whose checkpoint is kept
    best_score: str | None  # its key in that line
    checkpoints: Sequence[int]
    branches: Sequence[str]  # that were left
    commands: Sequence[tuple[str, str]]  # what for, and the words

    @property
    def last(self) -> Mapping[str, Any]:
        """The newest line that says how fast training is; empty when there is none."""
        return next((x for x in reversed(self.lines) if "speed/img_per_s" in x), {})
