"""A measured stop: a run ends when its score has not improved for long, by more than its error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from largegan.metrics import table

Line = Mapping[str, Any]
ERROR_BARS = "error_bars"


@dataclass(frozen=True)
class Stall:
    """Scores that no longer improve."""

    metric: str
    best: float
    best_nimg: int
    since_nimg: int
    newest_nimg: int
    gain: float  # that would have counted

    def sentence(self) -> str:
        """For people."""
        return (
            f"stopped at {self.newest_nimg} images: {table.title(self.metric)} has not improved by "
            f"more than {self.gain:.3g} since {self.since_nimg} images; the best was "
            f"{self.best:.4g} at {self.best_nimg} images"
        )


def stalled(history: Sequence[Line], stop: Any) -> Stall | None:
    """What a run's scores say, oldest first, by the `train.stop` settings; None: go on.

    A score counts as better when it beats the one that counted last by more than `min_gain`, or
    than the larger of both standard errors.
    """
    if stop.metric is None:
        return None
    name = f"{table.PREFIX}{stop.metric}"
    scored = [line for line in history if name in line]
    if not scored:
        return None
    sign = 1 if table.better(stop.metric) == "higher" else -1
    best, best_ever = scored[0], scored[0]
    for line in scored[1:]:
        if sign * (line[name] - best[name]) > gain_of(line, best, stop):
            best = line
        best_ever = max(best_ever, line, key=lambda one: sign * one[name])
    newest = scored[-1]
    if newest["nimg"] - best["nimg"] < stop.patience_nimg:
        return None
    return Stall(
        stop.metric,
        best_ever[name],
        best_ever["nimg"],
        best["nimg"],
        newest["nimg"],
        gain_of(newest, best, stop),
    )


def gain_of(line: Line, best: Line, stop: Any) -> float:
    """How much better a score has to be than the best one."""
    if stop.min_gain != ERROR_BARS:
        return float(stop.min_gain)
    error = f"{table.PREFIX}{table.error_of(stop.metric)}"
    return max(line.get(error, 0.0), best.get(error, 0.0))
