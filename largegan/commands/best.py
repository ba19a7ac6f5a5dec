"""The best checkpoint of several runs, such as starts from different seeds.

  largegan best runs/mine-1 runs/mine-2 runs/mine-3
  largegan best runs/mine-* --metric kid --json best.json

Each run's best score while it trained (`evaluate.every_nimg`), of the checkpoints that are still
there, best run first. Which start does best is chance to a large part: score the winner again with
`largegan fid` on other seeds before comparing it with anything else. Runs without a score are named
and left out. Exit codes: 2 arguments, or scores that cannot be compared, 3 a damaged file.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

from largegan.cli import add_options, exit_code, new_parser
from largegan.files.words import to_name, to_path
from largegan.metrics import table


class Best(NamedTuple):
    """The best score of a run, and where that checkpoint lies."""

    run: Path
    score: float
    error: float | None
    nimg: int
    checkpoint: Path


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("best", __doc__)
    parser.add_argument("runs", metavar="RUN", nargs="+", type=to_path, help="run directories")
    parser.add_argument(
        "--metric", type=to_name, default="fid", help="which score decides (default: fid)"
    )
    parser.add_argument("--json", type=to_path, help="write the table here, too")
    add_options(parser, "--overwrite")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    from largegan.errors import ConfigError, shown
    from largegan.files.claims import Outputs
    from largegan.files.output import write_text

    metric = arguments.metric
    if not table.is_score(metric):
        raise ConfigError(f"--metric {shown(metric)} is no score; choose one such as fid or kid")
    reads = [folder / "metrics.jsonl" for folder in arguments.runs]
    claims = Outputs(reads, overwrite=arguments.overwrite)
    if arguments.json:
        claims.file(arguments.json)
    found: list[Best] = []
    for folder in arguments.runs:
        best = best_of(folder, metric)
        if best is None:
            print(f"note: {folder} has no {metric} of a checkpoint: left out", file=sys.stderr)
        else:
            found.append(best)
    if not found:
        raise ConfigError(
            f"none of these runs has a {metric} of a checkpoint; train with evaluate.every_nimg, "
            "or choose another --metric"
        )
    refuse_strangers([best.run for best in found])
    found.sort(key=lambda best: best.score, reverse=table.better(metric) == "higher")
    print("\n".join(rows(found, metric)))
    if arguments.json:
        write_text(arguments.json, as_text(found, metric))


def best_of(folder: Path, metric: str) -> Best | None:
    """Of the checkpoints that are still there. Raises ConfigError, DataError."""
    from largegan import checkpoint
    from largegan.errors import ConfigError
    from largegan.files.lines import read_lines

    if not folder.is_dir():
        raise ConfigError(f"{folder} is no run: there is no such folder")
    best = None
    for line in read_lines(folder / "metrics.jsonl"):
        score, nimg = line.get(f"{table.PREFIX}{metric}"), line.get("nimg")
        if not isinstance(score, int | float) or not isinstance(nimg, int):
            continue
        where = folder / "checkpoints" / f"{nimg:09d}"
        if not checkpoint.is_complete(where):
            continue
        one = Best(folder, score, line.get(f"{table.PREFIX}{table.error_of(metric)}"), nimg, where)
        if best is None or (one.score > best.score) == (table.better(metric) == "higher"):
            best = one
    return best


def refuse_strangers(runs: list[Path]) -> None:
    """Scores of other images, or measured otherwise. Raises ConfigError, DataError."""
    from largegan.files.documents import read_document
    from largegan.metrics.protocol import refuse_unlike

    about = {"what": "is no protocol of scores", "remedy": "leave that run out"}
    protocols = [
        (run, read_document(run / "scores.json", dict[str, Any], **about))
        for run in runs
        if (run / "scores.json").is_file()
    ]
    for run, protocol in protocols[1:]:
        refuse_unlike(protocols[0][1], protocol, names=(str(protocols[0][0]), str(run)))


def rows(found: list[Best], metric: str) -> list[str]:
    """What is printed: a line for each run, and what to do with the best."""
    width = max(len(str(best.run)) for best in found)
    lines = [
        f"{best.run!s:{width}}  {table.title(metric)} {best.score:.4g}"
        + (f" ± {best.error:.2g}" if best.error else "")
        + f"  at {best.nimg} images"
        for best in found
    ]
    winner = found[0].checkpoint
    return [*lines, f"best: {winner}", f"look at it: largegan sample {winner} best.png"]


def as_text(found: list[Best], metric: str) -> str:
    """The table as JSON, best first."""
    from largegan.files.output import as_json

    runs = [best._asdict() for best in found]
    for row in runs:
        row |= {"run": str(row["run"]), "checkpoint": str(row["checkpoint"])}
    return as_json({"metric": metric, "runs": runs})


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
