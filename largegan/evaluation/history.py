"""Scores of a run so far, as its log has them."""

import json
from pathlib import Path

from largegan import checkpoint
from largegan.metrics import table

PREFIX = table.PREFIX


def history(run: Path) -> list[dict[str, float]]:
    """The lines of metrics.jsonl that hold scores."""
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if f'"{PREFIX}' in line]


def best(run: Path, metric: str, *, until_nimg: int | None = None) -> dict[str, float] | None:
    """The line of the best score, of those until some number of images, whose checkpoint is still
    there."""
    sign = -1 if table.better(metric) == "higher" else 1
    kept = [
        line
        for line in history(run)
        if f"{PREFIX}{metric}" in line
        and (until_nimg is None or line["nimg"] <= until_nimg)
        and checkpoint.is_complete(run / "checkpoints" / f"{line['nimg']:09d}")
    ]
    return min(kept, key=lambda line: sign * line[f"{PREFIX}{metric}"], default=None)
