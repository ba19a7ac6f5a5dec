"""Make a run go on from one of its older checkpoints.

  largegan rollback runs/mine --to 32000          then: --run.resume auto continues from there

Everything that is newer (checkpoints, pictures, snapshots, logs) is kept in
runs/mine/checkpoints/left-from-000032000, where nothing continues it by accident; to follow that
branch again: --run.resume runs/mine/checkpoints/left-from-000032000/000064000. The run must not be
going on. While training, health.on_VERDICT: rollback does the same when a verdict begins.
Exit codes: 2 arguments, or there is no such checkpoint; 3 its files are damaged; 4 the disk, or the
run is going on.
"""

import argparse
from pathlib import Path

from largegan.cli import exit_code, new_parser
from largegan.files.words import Number, to_path


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("rollback", __doc__)
    parser.add_argument("run", type=to_path, metavar="RUN", help="a run directory")
    parser.add_argument(
        "--to",
        type=Number("ImagesOrNone"),
        required=True,
        metavar="NIMG",
        help="images at the checkpoint",
    )
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    from largegan.errors import ConfigError
    from largegan.run.directory import is_run
    from largegan.run.lock import RunLock

    folder = arguments.run
    if not is_run(folder):
        raise ConfigError(f"{folder} holds no run; give a run directory, such as runs/NAME")
    lock = RunLock()
    lock.acquire(folder)
    try:
        for line in go_back(folder, arguments.to):
            print(line)
    finally:
        lock.release()


def go_back(folder: Path, nimg: int) -> list[str]:
    """What was done. Raises ConfigError, DataError where that checkpoint cannot be continued."""
    from largegan import checkpoint
    from largegan.errors import ConfigError, DataError
    from largegan.run import branches, rollback

    said = branches.finish(folder)  # a turn that a kill interrupted
    own = folder / "checkpoints"
    there = sorted(int(p.name) for p in checkpoint.numbered(own))
    if nimg not in there:
        names = ", ".join(map(str, there)) or "none"
        raise ConfigError(
            f"{folder} has no checkpoint at {nimg} images; its checkpoints are at: {names}"
        )
    start = own / f"{nimg:09d}"
    fault = checkpoint.damage(start)
    if fault:
        raise DataError(f"checkpoint {start} {fault}; choose an older one")
    if not branches.newer(own, nimg):
        return [*said, f"{start} is the newest checkpoint already: nothing to do"]
    before = rollback.in_force(folder, start)
    found = rollback.Rollback(
        nimg,
        there[-1],
        "a person",
        before.number if before else 0,
        before.settings if before else {},
    )
    return [*said, *rollback.turn(folder, found)]


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
