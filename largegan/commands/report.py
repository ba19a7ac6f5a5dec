"""Write the report of a run, or of several side by side: one file that any browser opens.

  largegan report runs/mine                              runs/mine/report.html, as training does
  largegan report runs/mine runs/other                   report.html here, both in every chart
  largegan report runs/mine runs/other --out both.html

It shows what ran, scores with error bars, losses and signals with the verdicts on them, samples
through time, the best checkpoint, and the commands to go on. Nothing is fetched from a network.
Exit codes: 2 arguments, or there is no run; 3 its files are damaged; 4 the disk.
"""

import argparse
from pathlib import Path

from largegan.cli import add_options, exit_code, new_parser
from largegan.files.words import to_path

NAME = "report.html"


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("report", __doc__)
    parser.add_argument("runs", type=to_path, nargs="+", metavar="RUN")
    parser.add_argument(
        "--out",
        type=to_path,
        metavar="FILE",
        help="NAME.html (default: RUN/report.html, or report.html here for several)",
    )
    add_options(parser, "--overwrite")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    from largegan.checkpoint import parts_of_run
    from largegan.errors import ConfigError
    from largegan.files.claims import Outputs

    out = arguments.out or (arguments.runs[0] if len(arguments.runs) == 1 else Path()) / NAME
    if out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"--out is {out}; give a name that ends in .html")
    places = [folder.resolve() for folder in arguments.runs]
    if len(set(places)) < len(places):
        raise ConfigError("the same run is given twice; give each once")

    from largegan.run.story import tell_all
    from largegan.viz.report.page import write_report

    runs = tell_all(arguments.runs)
    reads = [part for folder in arguments.runs for part in parts_of_run(folder)]
    Outputs(reads, overwrite=arguments.overwrite).file(out, "--out", again=True)
    write_report(out, runs)
    print(out)


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
