"""Quality against diversity: what truncation buys and costs, as a chart and a table.

  largegan curve data/photos runs/biggan curve.png --thresholds 0.3,0.7,1,2 --standing 16
  largegan curve data/photos sweep curve.png     a folder that `largegan sample --thresholds` wrote
  largegan curve bundled:noto32 runs/biggan_emoji32 curve.png --count 1000

One point a threshold: Frechet and kernel distance to the real images (lower is better), over recall
(the part of the real images that is near a generated one). Small thresholds draw typical images,
large ones varied images. Numbers, errors and the protocol of each point go into curve.json.
Distances fall with the number of images: compare points of one curve only.
Exit codes: 2 arguments, 3 images are damaged, 4 weights or the machine are missing.
"""

import argparse
import json
from typing import Any

from largegan.cli import (
    add_options,
    exit_code,
    new_parser,
)
from largegan.files.words import Number, Numbers, to_path, to_source
from largegan.metrics import table

METRICS = ["fid", "kid", "prdc"]


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("curve", __doc__)
    parser.add_argument(
        "real", type=to_source, help="reference images: folder, zip, npz, shards, bundled:NAME"
    )
    parser.add_argument("generated", type=to_path, help="RUN, a checkpoint, or a folder of a sweep")
    parser.add_argument("out", type=to_path, help="NAME.png; NAME.json is written beside it")
    add = parser.add_argument
    add("--thresholds", type=Numbers("Truncation"), metavar="T,T",
        help="truncations of a checkpoint (default: 0.3,0.7,1,2)")  # fmt: skip
    add("--count", type=Number("Drawn"),
        help="images a point (default: 5000 from a checkpoint, else all)")  # fmt: skip
    add_options(parser, "--standing", "--seed", "--backbone", "--weights-dir", "--neighbors")
    add_options(parser, "--batch", "--overwrite")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    check(arguments)
    from largegan.parallel.launch import agree, connect, disconnect

    world = connect()
    try:
        answer = measure(arguments, world)
        agree(world, lambda: report(arguments, answer))
    finally:
        disconnect()


def check(arguments: argparse.Namespace) -> None:
    from largegan.errors import ConfigError

    if arguments.out.suffix.lower() != ".png":
        raise ConfigError(f"{arguments.out} must end in .png; the numbers go into .json beside it")
    from largegan.checkpoint import parts_of_run
    from largegan.files.claims import Outputs

    reads = [arguments.real, *parts_of_run(arguments.generated)]
    claims = Outputs(reads, overwrite=arguments.overwrite)
    claims.file(arguments.out)
    claims.file(arguments.out.with_suffix(".json"), "OUT (its .json)")


def points_of(arguments: argparse.Namespace) -> list[tuple[float, str, dict[str, Any]]]:
    """(threshold, what to open, with which options) for each point, by rising threshold."""
    from largegan.errors import ConfigError, DataError

    manifest = arguments.generated / "manifest.json"
    if not manifest.is_file():
        wanted = sorted(set(arguments.thresholds or (0.3, 0.7, 1.0, 2.0)))
        if len(wanted) < 2:
            raise ConfigError("a curve needs two --thresholds or more, such as 0.3,0.7,1,2")
        drawn = {"count": arguments.count or 5000, "seed": arguments.seed}
        drawn["standing"] = arguments.standing
        return [(t, str(arguments.generated), {"truncation": t, **drawn}) for t in wanted]
    if arguments.thresholds or arguments.standing or arguments.seed:
        raise ConfigError(
            f"{arguments.generated} is a sweep that is drawn already; leave --thresholds, "
            "--standing and --seed out, or give the checkpoint"
        )
    try:
        sets = json.loads(manifest.read_text())["sets"]
        found = [(float(s["truncation"]), str(arguments.generated / s["folder"])) for s in sets]
        if not found:
            raise ValueError("no points")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as fault:
        raise DataError(
            f"{manifest} is not what largegan sample --thresholds writes ({fault}); draw the sweep "
            "again"
        ) from fault
    return [(t, folder, {"count": arguments.count}) for t, folder in sorted(found)]


def measure(arguments: argparse.Namespace, world) -> dict[str, Any]:
    """Scores of every point, on all processes together."""
    from largegan.evaluation import scores
    from largegan.evaluation.image_sets import open_image_set
    from largegan.evaluation.progress import progress_bar, say_cost
    from largegan.metrics.features import open_extractor
    from largegan.metrics.side import Settings
    from largegan.parallel.launch import agree, together

    points = together(world, lambda: points_of(arguments))
    extractor = together(
        world,
        lambda: open_extractor(
            arguments.backbone, folder=arguments.weights_dir, device=world.device
        ),
    )
    real = together(world, lambda: open_image_set(arguments.real, device=world.device))
    batch = arguments.batch
    reference = scores.reference_side(
        real,
        extractor,
        world,
        cache=scores.default_cache(),
        features=True,
        batch=batch,
        bar=progress_bar("reference", world),
    )
    settings, found = Settings(neighbors=arguments.neighbors), []
    for amount, path, options in points:
        images = together(
            world, lambda p=path, o=options: open_image_set(p, device=world.device, **o)
        )
        if not found:
            say_cost(f"{len(points)} points", len(points) * images.count, world)
        side = scores.extract(
            images,
            extractor,
            world,
            batch=batch,
            features=True,
            bar=progress_bar(f"T {amount:g}", world),
        )
        values = agree(
            world,
            lambda s=side: table.compute(reference, s, METRICS, settings),
        )
        found.append({"truncation": amount, "scores": values, "generated": side.about})
    return {
        "points": found,
        "protocol": {
            "backbone": extractor.backbone.as_dict(),
            "reference": reference.about,
            "metrics": {"names": METRICS, "neighbours": arguments.neighbors},
            **scores.environment(world),
        },
    }


def report(arguments: argparse.Namespace, answer: dict[str, Any]) -> None:
    """The table, the picture and the numbers."""
    from largegan.files.output import MARK, as_json, write_text
    from largegan.viz.pictures import write_picture

    for line in [*lines(answer), *notes(answer)]:
        print(line)
    write_picture(arguments.out, chart(answer))
    numbers = arguments.out.with_suffix(".json")
    write_text(numbers, as_json({"made_by": MARK, **answer}))
    print(f"{arguments.out} and {numbers}")


def distance_names(answer: dict[str, Any]) -> dict[str, str]:
    from largegan.metrics.features import Backbone

    backbone = Backbone(**answer["protocol"]["backbone"])
    return {"fid": backbone.title("FID"), "kid": backbone.title("KID")}


def lines(answer: dict[str, Any]) -> list[str]:
    titles = [*distance_names(answer).values(), "precision", "recall", "coverage"]
    rows = [f"{'truncation':>10s} {'images':>7s} " + " ".join(f"{t:>20s}" for t in titles)]
    for point in answer["points"]:
        s = point["scores"]
        cells = [with_error(s, "fid"), with_error(s, "kid")]
        cells += [f"{s[name]:.3f}" for name in ("precision", "recall", "coverage")]
        count = point["generated"]["count"]
        rows.append(
            f"{point['truncation']:10g} {count:7d} " + " ".join(f"{cell:>20s}" for cell in cells)
        )
    return rows


def notes(answer: dict[str, Any]) -> list[str]:
    """What was not looked at of the files of either side."""
    from largegan.evaluation.scores import said_of_frames

    sides = {"reference": answer["protocol"]["reference"]}
    sides |= {f"truncation {p['truncation']:g}": p["generated"] for p in answer["points"]}
    return [
        f"note: {said}" for name, about in sides.items() for said in said_of_frames(name, about)
    ]


def with_error(values: dict[str, float], name: str) -> str:
    error = values.get(f"{name}_error")
    return f"{values[name]:.4g}" + ("" if error is None else f" ± {error:.2g}")


def chart(answer: dict[str, Any]):
    """Distances over recall, a panel each."""
    from matplotlib.figure import Figure

    from largegan.viz.pictures import of_figure

    points, titles = answer["points"], distance_names(answer)
    recall = [p["scores"]["recall"] for p in points]
    figure = Figure(figsize=(4.6 * len(titles), 4), dpi=110, layout="constrained")
    panels = figure.subplots(1, len(titles), squeeze=False)[0]
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        values = [p["scores"][name] for p in points]
        errors = [p["scores"].get(f"{name}_error") or 0.0 for p in points]
        axes.errorbar(recall, values, errors, marker="o", capsize=3)
        for x, y, point in zip(recall, values, points, strict=True):
            text = f"T {point['truncation']:g}"
            axes.annotate(text, (x, y), (5, 5), textcoords="offset points")
        axes.set_xlabel("recall (more: more diverse)")
        axes.set_ylabel(f"{title} (less: better)")
        axes.grid(alpha=0.3)
    return of_figure(figure)


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
