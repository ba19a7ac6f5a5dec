"""Scores of a run so far, as its log has them."""

import json
import math
from pathlib import Path

from largegan import checkpoint
from largegan.metrics import table

PREFIX = table.PREFIX


def history(run: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl that hold scores, without one that is being written."""
    path = run / "metrics.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines if f'"{PREFIX}' in line]


def best(run: Path, metric: str, *, until_nimg: int | None = None) -> dict[str, float] | None:
    """The line of the best score, of those until some number of images, whose checkpoint is still
    there."""
    sign = -1 if table.better(metric) == "higher" else 1
    kept = [
        line
        for line in history(run)
        if is_number(line.get(f"{PREFIX}{metric}"))
        and (until_nimg is None or line["nimg"] <= until_nimg)
        and checkpoint.is_complete(run / "checkpoints" / f"{line['nimg']:09d}")
    ]
    return min(kept, key=lambda line: sign * line[f"{PREFIX}{metric}"], default=None)


def is_number(value: object) -> bool:
    """Whether a score was found: neither missing nor nan."""
    if isinstance(value, int):
        return abs(value) < 1 << 53
    return isinstance(value, float) and math.isfinite(value)
