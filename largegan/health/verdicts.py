"""The table of verdicts: ways in which a GAN fails, one file and one row each.

A verdict is a pure function of a window of signals, so it is the same on every rank and after a
resume. What is done about one is in `remedies`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import NamedTuple


class Finding(NamedTuple):
    """What a verdict says of a window that looks ill."""

    confidence: float  # 0 to 1
    evidence: Mapping[str, float]  # signals by their names in metrics.jsonl
    sentence: str


Line = Mapping[str, float]  # of metrics.jsonl
Judge = Callable[[list[Line]], Finding | None]  # a window of lines, the newest last


@dataclass(frozen=True)
class Verdict:
    """A row.

    `module` is a file of this folder whose `found` is a `Judge`. It sees the lines that brought all
    signals of `needs`, the last `window` of them, whenever there is a new one; with what the last
    look at samples said, where there was one. A verdict begins when `lasts` lines in a row look
    ill, and ends when as many do not.
    """

    title: str
    module: str
    needs: tuple[str, ...]
    window: int = 8
    lasts: int = 3


DISTANCE = "health/distance"
SCORES = ("health/auc", "health/score_real", "health/score_fake")
VERDICTS: dict[str, Verdict] = {
    "discriminator_dominates": Verdict(
        "the discriminator dominates",
        "discriminator_dominates",
        (*SCORES, "health/score_d", "health/accuracy_real", "health/accuracy_fake"),
        window=32,
    ),
    "generator_dominates": Verdict(
        "the generator dominates", "generator_dominates", (*SCORES, "health/accuracy_fake")
    ),
    "mode_collapse": Verdict(
        "modes have collapsed",
        "mode_collapse",
        ("health/diversity", "health/duplicates", "health/coverage"),
        window=512,
        lasts=2,
    ),
    "discriminator_overfits": Verdict(
        "the discriminator overfits",
        "discriminator_overfits",
        ("health/overfit", "health/accuracy_seen", "health/accuracy_held_out"),
    ),
    "memorises": Verdict(
        "the generator repeats training images", "memorises", ("health/copies",), lasts=2
    ),
    "diverges": Verdict(
        "training diverges",
        "diverges",
        ("health/skipped_steps",),
        window=512,
        lasts=2,
    ),
    "random_feedback": Verdict(
        "the discriminator's feedback is random",
        "random_feedback",
        ("health/auc",),
        window=16,
        lasts=2,
    ),
    "no_progress": Verdict(
        "samples no longer get better", "no_progress", ("health/distance",), lasts=2
    ),
}


def judge_of(name: str) -> Judge:
    """The function behind a row."""
    return import_module(f"largegan.health.{VERDICTS[name].module}").found  # type: ignore[no-any-return]


def mean(window: list[Line], name: str, last: int = 0) -> float:
    """Of a signal over the window, or over its last lines."""
    values = [line[name] for line in window[-last:]]
    return sum(values) / len(values)


def gets_better(window: list[Line], lines: int, least: float = 0.07) -> bool | None:
    """Whether samples came nearer to real images during the last lines; None: nobody looked.

    A start is always taken for progress: there have to be more than `lines` lines.
    """
    seen = [line[DISTANCE] for line in window if DISTANCE in line]
    if not seen:
        return None
    return len(seen) <= lines or min(seen[-lines:]) < (1 - least) * seen[-lines - 1]


def above(value: float, threshold: float, certain: float) -> float:
    """How sure a number makes: 0.5 at the threshold, 1 at `certain` and beyond."""
    share = (value - threshold) / (certain - threshold)
    return min(1.0, max(0.5, 0.5 + share / 2))
