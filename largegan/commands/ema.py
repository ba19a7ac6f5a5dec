"""The best average of a run's weights, chosen after training: FID over width, and a checkpoint.

  largegan ema runs/mine                   scores nine widths against the run's own data
  largegan ema runs/mine --real 'photos[::2]' --widths 0.02,0.05,0.1,0.2 --count 5000
  largegan ema runs/mine --width 0.13      no scores: writes this average
  largegan sample runs/mine/posthoc new.png   what was written is a checkpoint like any other

The run must have kept snapshots (--train.snapshot_every_nimg). A width is the standard deviation of
the average over training time, as a part of it: 0.05 remembers the last tenth or so, 0.28 all
(Karras et al., 2024). RUN/posthoc gets the checkpoint, ema.png and ema.json. --at asks for the
averages at an earlier snapshot, of which a checkpoint must be there too.
Exit codes: 2 arguments, 3 files are damaged, 4 weights or the machine are missing.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from largegan.cli import add_options, exit_code, new_parser
from largegan.files.words import Number, Numbers, to_path, to_source

WIDTHS = (0.02, 0.035, 0.05, 0.07, 0.1, 0.13, 0.17, 0.21, 0.25)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("ema", __doc__)
    add = parser.add_argument
    add("run", type=to_path, help="a run directory with snapshots")
    add("--width", type=Number("AverageWidth"),
        help="write the average of this width, score nothing")  # fmt: skip
    add("--widths", type=Numbers("AverageWidth"), metavar="W,W",
        help=f"widths to score (default: {','.join(map(str, WIDTHS))})")  # fmt: skip
    add("--real", type=to_source, help="reference images (default: the run's own data)")
    add("--at", type=Number("Images"), metavar="NIMG",
        help="a snapshot's images (default: the last)")  # fmt: skip
    add("--count", type=Number("Drawn"), default=5000, help="images a width (default: 5000)")
    add_options(parser, "--seed", "--backbone", "--weights-dir", "--batch")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    widths = read_widths(arguments)
    from largegan.run.snapshots import open_snapshots

    snapshots = open_snapshots(arguments.run, arguments.at)
    base = base_checkpoint(arguments.run, snapshots.taken[-1])
    out = arguments.run / "posthoc"
    if arguments.width is not None:
        print(f"width {arguments.width:g}: {snapshots.write_checkpoint(base, widths[0], out)}")
        return
    answer = measure(arguments, base, snapshots, widths)
    best = min(answer["points"], key=lambda point: point["scores"]["fid"])
    answer["chosen"] = best["width"]
    path = snapshots.write_checkpoint(base, best["width"], out)
    report(answer, out)
    print(f"width {best['width']:g} is the best: {path}")


def read_widths(arguments: argparse.Namespace) -> list[float]:
    """By rising width, each one that an average can have."""
    from largegan.errors import ConfigError
    from largegan.run.snapshots import exponent

    if arguments.width is not None and arguments.widths:
        raise ConfigError("--width writes one average and --widths scores several; give one")
    widths = sorted(set(arguments.widths or WIDTHS))
    widths = widths if arguments.width is None else [arguments.width]
    for width in widths:
        exponent(width, "--width" if arguments.width is not None else "--widths")
    return widths


def base_checkpoint(run: Path, nimg: int) -> Path:
    """The checkpoint at a snapshot's moment: everything but the averages comes from it."""
    from largegan import checkpoint
    from largegan.errors import ConfigError

    path = run / "checkpoints" / f"{nimg:09d}"
    if checkpoint.is_complete(path):
        return path
    known = [int(p.name) for p in checkpoint.numbered(run / "checkpoints")]
    raise ConfigError(
        f"{run} has no checkpoint at {nimg} images, where its snapshot is; give --at one of "
        f"{', '.join(map(str, sorted(known))) or 'none'} that has a snapshot"
    )


def measure(arguments: argparse.Namespace, base: Path, snapshots, widths: list[float]) -> dict:
    """FID of every width."""
    import tempfile

    from largegan.api.device import choose_device
    from largegan.evaluation import scores
    from largegan.evaluation.image_sets import open_image_set
    from largegan.evaluation.progress import progress_bar, say_cost
    from largegan.metrics import table
    from largegan.metrics.features import open_extractor
    from largegan.metrics.side import Settings
    from largegan.parallel.launch import World

    device = choose_device(None)
    world = World(0, 1, device)
    extractor = open_extractor(arguments.backbone, folder=arguments.weights_dir, device=device)
    real = open_image_set(arguments.real or own_data(base), device=device)
    say_cost(f"{len(widths)} widths", len(widths) * arguments.count, world)
    common = {"batch": arguments.batch, "features": True}
    reference = scores.reference_side(
        real,
        extractor,
        world,
        cache=scores.default_cache(),
        bar=progress_bar("reference", world),
        **common,
    )
    points = []
    for width in widths:
        with tempfile.TemporaryDirectory() as scratch:
            path = snapshots.write_checkpoint(base, width, Path(scratch))
            images = open_image_set(
                str(path), device=device, count=arguments.count, seed=arguments.seed
            )
            bar = progress_bar(f"width {width:g}", world)
            side = scores.extract(images, extractor, world, bar=bar, **common)
        found = table.compute(reference, side, ["fid"], Settings())
        print(f"width {width:<6g} {extractor.backbone.title('FID')} {found['fid']:.4g}")
        points.append({"width": width, "scores": found})
    return {
        "points": points,
        "snapshots": {"nimg": snapshots.taken, "widths": snapshots.widths},
        "protocol": {
            "backbone": extractor.backbone.as_dict(),
            "reference": reference.about,
            "count": arguments.count,
            "seed": arguments.seed,
            **scores.environment(world),
        },
    }


def own_data(base: Path) -> str:
    """What the run was trained on."""
    from largegan import checkpoint

    state: dict[str, Any] = json.loads((base / checkpoint.STATE).read_text())
    return str(state["config"]["data"]["path"])


def report(answer: dict[str, Any], folder: Path) -> None:
    """The picture and the numbers."""
    from largegan.files.output import write_text
    from largegan.viz.pictures import write_picture

    write_picture(folder / "ema.png", chart(answer))
    write_text(folder / "ema.json", json.dumps(answer, indent=1) + "\n")


def chart(answer: dict[str, Any]):
    """FID over width, and the widths of the snapshots."""
    from matplotlib.figure import Figure

    from largegan.metrics.features import Backbone
    from largegan.viz.pictures import of_figure

    points = answer["points"]
    values = [point["scores"]["fid"] for point in points]
    errors = [point["scores"].get("fid_error") or 0.0 for point in points]
    figure = Figure(figsize=(5.5, 4), dpi=110, layout="constrained")
    axes = figure.subplots()
    axes.errorbar([p["width"] for p in points], values, errors, marker="o", capsize=3)
    for width in answer["snapshots"]["widths"]:
        axes.axvline(width, color="gray", linestyle=":")
    axes.axvline(answer["chosen"], color="tab:green", alpha=0.6)
    axes.set_xlabel("width of the average, part of training (dotted: snapshots)")
    axes.set_ylabel(f"{Backbone(**answer['protocol']['backbone']).title('FID')} (less: better)")
    axes.grid(alpha=0.3)
    return of_figure(figure)


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
