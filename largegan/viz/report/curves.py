"""Numbers of metrics.jsonl as curves: which go into one chart, and fewer points, honestly.

A curve of more points than a chart has room for is cut into buckets of equally many points; each
becomes its mean with its smallest and its largest value, so that no peak is lost.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from largegan.viz.report.contents import Run, Score

MOST_BUCKETS = 300
MOST_ERROR_BARS = 150
MOST_VALUES = 150_000  # of all curves of a page: about 1 MB
LARGEST = 1e300  # beyond it there is nothing to draw
COUNTS = ("health/skipped_steps", "data/skipped_samples")  # charts only where there are some
PHASE_TIME, PER_KIMG = "time/", "_s_per_kimg"


@dataclass(frozen=True)
class Curve:
    """Points of one number of one run; `low` and `high` are there where points stand for many."""

    run: int
    label: str
    x: list[int]
    y: list[float | None]  # None: not a finite number
    low: list[float | None] = field(default_factory=list)
    high: list[float | None] = field(default_factory=list)
    error: list[float | None] = field(default_factory=list)


@dataclass(frozen=True)
class Chart:
    """Curves in one frame. `kind` is "lines", "points" (with error bars) or "areas" (stacked)."""

    section: str
    title: str
    about: str
    curves: list[Curve]
    kind: str = "lines"
    log: bool = False
    percent: bool = False


@dataclass(frozen=True)
class Plan:
    """Which names go together, before any number is looked at."""

    section: str
    title: str
    names: dict[str, str]  # in metrics.jsonl -> in the legend
    kind: str = "lines"
    log: bool = False
    percent: bool = False


def charts(runs: Sequence[Run]) -> list[Chart]:
    """All charts of a page. Of one run a chart has several numbers, of several runs one number."""
    columns = [columns_of(run.lines) for run in runs]
    names = list(dict.fromkeys(name for found in columns for name in found))
    names = [name for name in names if name not in COUNTS or any_of(name, columns)]
    scores = {score.name: score for run in runs for score in run.scores}
    meanings = {name: text for run in runs for name, text in run.meanings.items()}
    plans = plan(names, list(scores.values()))
    if len(runs) > 1:
        plans = [part for whole in plans for part in split(whole)]
    count = sum(name in found for p in plans for name in p.names for found in columns)
    buckets = max(20, min(MOST_BUCKETS, MOST_VALUES // max(4 * count, 1)))
    return [drawn(p, runs, columns, scores, meanings, buckets) for p in plans]


def any_of(name: str, columns: Iterable[Mapping[str, tuple[list[int], list[float]]]]) -> bool:
    return any(any(found[name][1]) for found in columns if name in found)


def columns_of(lines: Iterable[Mapping[str, Any]]) -> dict[str, tuple[list[int], list[float]]]:
    """Each number of metrics.jsonl by its name: images seen, and values (nan: not a number)."""
    found: dict[str, tuple[list[int], list[float]]] = defaultdict(lambda: ([], []))
    for line in lines:
        nimg = line["nimg"]
        for name, value in line.items():
            if value is None or type(value) in (int, float):
                x, y = found[name]
                x.append(nimg)
                y.append(math.nan if value is None or abs(value) > LARGEST else float(value))
    return dict(found)


def plan(names: Sequence[str], scores: Sequence[Score]) -> list[Plan]:
    """Charts for these names, in the order of a page."""
    have = set(names)
    losses = [n for n in names if is_loss(n)]
    phases = list(dict.fromkeys(head(n) for n in losses))
    norms = [n for n in names if n.endswith("/grad_norm")]
    signals = [n for n in names if n.startswith("health/")]
    plans = [
        Plan("Scores", s.title, {s.name: s.title}, kind="points") for s in scores if s.name in have
    ]
    plans += [Plan("Signals", t, g) for t, g in grouped(signals).items()]
    plans += [
        Plan("Losses", phase, {n: tail(n) for n in losses if head(n) == phase}) for phase in phases
    ]
    plans += [Plan("Losses", "gradient norms", {n: head(n) for n in norms}, log=True)]
    plans += [Plan("Measured", n, {n: n}) for n in names if is_measured(n)]
    plans += time_plans(names)
    return [p for p in plans if p.names]


def time_plans(names: Sequence[str]) -> list[Plan]:
    """Speed, memory and where the time goes."""
    have = set(names)
    spent = [n for n in names if n.startswith(PHASE_TIME) and n.endswith(PER_KIMG)]
    wanted = [
        Plan("Time", "images per second", {"speed/img_per_s": "img/s"}),
        Plan(
            "Time",
            "seconds per thousand images",
            {n: n.removeprefix(PHASE_TIME).removesuffix(PER_KIMG) for n in spent},
            kind="areas",
        ),
        Plan("Time", "waiting for data", {"speed/data_wait": "of the time"}, percent=True),
        Plan("Time", "memory", {"memory/gib": "GiB"}),
        Plan("Time", "unusable samples", {"data/skipped_samples": "skipped"}),
    ]
    return [p for p in wanted if all(n in have for n in p.names)]


def grouped(signals: Sequence[str]) -> dict[str, dict[str, str]]:
    """Signals that begin alike in one chart: score_real and score_fake, diversity by class."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name in signals:
        rest = name.removeprefix("health/")
        key = rest.split("/")[0] if "/" in rest else rest.split("_")[0]
        found[key][name] = rest
    return {
        g if len(found[g]) > 1 else next(iter(found[g].values())).replace("_", " "): found[g]
        for g in found
    }


def head(name: str) -> str:
    return name.split("/")[0]


def tail(name: str) -> str:
    return name.partition("/")[2]


def is_loss(name: str) -> bool:
    """Of a phase, which has a dot in its name: G.adversarial/loss."""
    return "/" in name and "." in head(name) and not name.endswith("/grad_norm")


def is_measured(name: str) -> bool:
    """What a recipe measures besides: the mean of a toy's samples."""
    known = ("score", "health", "speed", "time", "memory", "data")
    return name not in ("nimg", "step") and head(name) not in known and "." not in head(name)


def split(whole: Plan) -> list[Plan]:
    """A chart for each name, which then has a curve for each run."""
    if len(whole.names) == 1:
        return [whole]
    kind = "lines" if whole.kind == "areas" else whole.kind
    return [
        Plan(
            whole.section,
            label if whole.section == "Signals" else f"{whole.title}: {label}",
            {name: label},
            kind,
            whole.log,
        )
        for name, label in whole.names.items()
    ]


def drawn(
    p: Plan,
    runs: Sequence[Run],
    columns: Sequence[Mapping[str, tuple[list[int], list[float]]]],
    scores: Mapping[str, Score],
    meanings: Mapping[str, str],
    buckets: int,
) -> Chart:
    """A planned chart with its points."""
    curves = []
    for index, (run, found) in enumerate(zip(runs, columns, strict=True)):
        for name, label in p.names.items():
            if name not in found:
                continue
            error = scores[name].error if name in scores else None
            curves.append(
                curve(index, run.name if len(runs) > 1 else label, found, name, error, buckets)
            )
    about = [meanings[n] for n in p.names if n in meanings]
    only = about[0] if len(p.names) == 1 and about else ""
    if p.kind == "points":
        only = f"{scores[next(iter(p.names))].better} is better"
    return Chart(p.section, p.title, only, curves, p.kind, p.log, p.percent)


def curve(
    run: int,
    label: str,
    found: Mapping[str, tuple[list[int], list[float]]],
    name: str,
    error: str | None,
    buckets: int,
) -> Curve:
    """One number of one run."""
    x, y = found[name]
    errors = found[error][1] if error in found and found[error][0] == x else []
    if errors and len(x) <= MOST_ERROR_BARS:
        return Curve(run, label, x, plain(y), error=plain(errors))
    buckets = MOST_ERROR_BARS if errors else buckets
    if len(x) <= 2 * buckets and not errors:
        return Curve(run, label, x, plain(y))
    spread = np.array(errors, dtype=np.float64) if errors else np.zeros(len(x))
    return Curve(run, label, *thinned(np.array(x), np.array(y, dtype=np.float64), spread, buckets))


def thinned(
    x: np.ndarray, y: np.ndarray, spread: np.ndarray, buckets: int
) -> tuple[list, list, list, list]:
    """x, mean, smallest and largest (with their errors) of equally long parts; a part that holds a
    value which is not finite becomes a gap."""
    edges = np.linspace(0, len(x), buckets + 1).astype(int)[:-1]
    counts = np.diff(np.append(edges, len(x)))
    middle = np.add.reduceat(x, edges) // counts
    with np.errstate(invalid="ignore"):
        mean = np.add.reduceat(y, edges) / counts
        low = np.minimum.reduceat(y - spread, edges)
        high = np.maximum.reduceat(y + spread, edges)
    return middle.tolist(), plain(mean.tolist()), plain(low.tolist()), plain(high.tolist())


def plain(values: Sequence[float]) -> list[float | None]:
    """Five digits, which is what a screen shows; None for what JSON cannot say."""
    return [float(f"{v:.5g}") if math.isfinite(v) else None for v in values]
