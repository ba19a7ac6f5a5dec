"""The table of verdicts: ways in which a GAN fails, one file and one row each.

A verdict is a pure function of a window of signals, so it is the same on every rank and after a
resume. What is done about one is in `remedies`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
    """A row: `function` is `module` of this folder, whose `found` is a `Judge`."""

    title: str
    module: str
    lasts_nimg: int = 0


VERDICTS: dict[str, Verdict] = {
    "discriminator_dominates": Verdict("the discriminator dominates", "discriminator_dominates"),
    "generator_dominates": Verdict("the generator dominates", "generator_dominates"),
    "mode_collapse": Verdict("the modes collapse", "mode_collapse"),
    "discriminator_overfits": Verdict("the discriminator overfits", "discriminator_overfits"),
    "memorises": Verdict("the generator repeats training images", "memorises"),
    "diverges": Verdict("training diverges", "diverges"),
    "random_feedback": Verdict("the discriminator's feedback is random", "random_feedback"),
    "no_progress": Verdict("samples no longer change", "no_progress"),
}
