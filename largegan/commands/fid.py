"""FID and its family between two sets of images, with error bars and the whole protocol.

  largegan fid data/photos runs/mine             a checkpoint draws 50,000 images, EMA weights
  largegan fid data/photos generated.zip         folders, zips, npz, shards, bundled:noto32
  largegan fid reference.npz generated           statistics: ours, clean-fid's, NVIDIA's npz and pkl
  largegan fid 'photos[::2]' 'photos[1::2]'      two halves of one set
  largegan fid data/photos runs/mine --json mine.json --compare before.json
  largegan fid data/photos --statistics photos.npz    write statistics of one set
  accelerate launch --multi_gpu --num_processes 8 -m largegan fid data/photos runs/mine

The first set is the reference. Images are resized by clean-fid's rule; features are those of FID's
own Inception network, unless --backbone names another one, whose distances are then called FD-NAME.
Weights are local files: see largegan weights. Reference statistics are kept by their content.
Sideways photographs are turned upright, transparency lies over white, 16 bits become 8.
Exit codes: 2 arguments, 3 images or statistics are damaged, 4 weights or the machine are missing.
"""

import argparse
from pathlib import Path
from typing import Any

from largegan.api.device import choose_device
from largegan.cli import add_options, exit_code, new_parser
from largegan.files.words import Number, to_names, to_path, to_source
from largegan.metrics import table

DEFAULT_METRICS = "fid,kid,prdc"


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("fid", __doc__)
    parser.add_argument("real", type=to_source, help="reference: images or statistics")
    parser.add_argument(
        "generated", type=to_source, nargs="?", help="images, statistics, RUN or a checkpoint"
    )
    add = parser.add_argument
    known = "; ".join(f"{name}: {row.about}" for name, row in table.TABLE.items())
    add("--metrics", type=to_names, metavar="A,B",
        help=f"(default: {DEFAULT_METRICS}, as far as the inputs allow) {known}")  # fmt: skip
    add("--count", type=Number("Drawn"),
        help="generated images (default: all; 50,000 from a checkpoint)")  # fmt: skip
    add_options(parser, "--seed", "--truncation", "--classes", "--standing", "--raw")
    add_options(parser, "--backbone", "--weights-dir")
    add("--resize", choices=("device", "host"), default="device",
        help="host: with Pillow, bit for bit clean-fid's, slower (default: device)")  # fmt: skip
    add("--chunks", type=Number("Chunks"), default=20,
        help="parts for error bar and limit of FID; 1: neither, quicker (default: 20)")  # fmt: skip
    add_options(parser, "--neighbors", "--batch", "--device", "--json")
    add("--cpu-threads", type=Number("Threads"),
        help="per process without a GPU (default: the cores, shared)")  # fmt: skip
    add("--compare", type=to_path, metavar="FILE", help="an earlier --json, measured alike")
    add("--statistics", type=to_path, metavar="FILE", help="write statistics (.npz, .safetensors)")
    add("--overwrite", action="store_true", help="replace FILEs that another program made")
    add("--on-error", choices=("raise", "skip"), default="raise",
        help="skip: leave out images that cannot be read, and say so (default: raise)")  # fmt: skip
    add("--cache", type=to_path, help="where reference statistics are kept")
    add("--no-cache", action="store_true", help="neither read nor keep them")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    metrics = check(arguments)
    from largegan.evaluation.host_memory import keep_freed_memory
    from largegan.parallel.launch import World, agree, connect, disconnect

    world = connect(cpu_threads=arguments.cpu_threads)
    if arguments.device and world.size == 1:
        world = World(world.rank, world.size, choose_device(arguments.device))
    if world.device.type == "cpu":
        keep_freed_memory()
    try:
        answer = measure(arguments, metrics, world)
        if answer is not None:
            agree(world, lambda: report(arguments, answer))
    finally:
        disconnect()


def check(arguments: argparse.Namespace) -> list[str]:
    """The metrics asked for; refuses what cannot be done before anything heavy is loaded."""
    from largegan.errors import ConfigError

    if arguments.generated is None and arguments.statistics is None:
        raise ConfigError("give a second set, or --statistics FILE to write those of the first")
    metrics = arguments.metrics or DEFAULT_METRICS.split(",")
    table.rows(metrics)
    if arguments.statistics and arguments.statistics.suffix.lower() not in (".npz", ".safetensors"):
        raise ConfigError(f"--statistics {arguments.statistics} must end in .npz or .safetensors")
    claim(arguments)
    return metrics


def claim(arguments: argparse.Namespace) -> None:
    """Refuses files that are read, or are somebody else's."""
    from largegan.checkpoint import parts_of_run
    from largegan.files.claims import Outputs, place_of
    from largegan.restore import is_model

    reads = [arguments.compare]
    for source in filter(None, (arguments.real, arguments.generated)):
        place = place_of(source)
        reads += parts_of_run(place) if is_model(place) else [source]
    claims = Outputs(reads, overwrite=arguments.overwrite)
    if arguments.statistics:
        claims.file(arguments.statistics, "--statistics", again=True)
    if arguments.json:
        claims.file(arguments.json, "--json", again=True)
    if arguments.cache and not arguments.no_cache:
        claims.folder(arguments.cache, "--cache", apart=True)


def measure(arguments: argparse.Namespace, metrics: list[str], world) -> dict[str, Any] | None:
    """Scores and protocol, on all processes together; None when only statistics were asked for."""
    from largegan.evaluation import scores
    from largegan.metrics.features import INCEPTION, open_extractor
    from largegan.metrics.side import Settings
    from largegan.parallel.launch import agree, together

    extractor = together(
        world,
        lambda: open_extractor(
            arguments.backbone,
            folder=arguments.weights_dir,
            device=world.device,
            host=arguments.resize == "host",
            logits=table.needs_classifier(metrics) and arguments.backbone == INCEPTION,
        ),
    )
    metrics = possible(arguments, metrics)
    reference = reference_of(arguments, extractor, world, table.needs(metrics))
    if arguments.statistics:
        agree(world, lambda: write(arguments.statistics, reference, extractor))
    if arguments.generated is None:
        return None
    generated = generated_of(arguments, extractor, world, metrics)
    settings = Settings(neighbors=arguments.neighbors)
    values = agree(world, lambda: table.compute(reference, generated, metrics, settings))
    backbone = extractor.backbone.as_dict()
    return {
        "scores": values,
        "protocol": {
            "backbone": backbone,
            "resized_on": arguments.resize,
            "reference": reference.about,
            "generated": generated.about,
            "metrics": {
                "names": metrics,
                "neighbours": settings.neighbors,
                "chunks": arguments.chunks,
            },
            **scores.environment(world),
        },
        "warnings": scores.warnings_of(reference, generated, backbone),
    }


def possible(arguments: argparse.Namespace, metrics: list[str]) -> list[str]:
    """By default, what the inputs allow: statistics have no images, unless they kept features."""
    from largegan.metrics.statistics import is_statistics, read_statistics

    if arguments.metrics or arguments.generated is None:
        return metrics if arguments.metrics else ["fid"]
    for path in (arguments.real, arguments.generated):
        if is_statistics(Path(path)) and read_statistics(Path(path)).features is None:
            return ["fid"]
    return metrics


def reference_of(arguments: argparse.Namespace, extractor, world, needs: set[str]):
    from largegan.evaluation import scores
    from largegan.evaluation.image_sets import open_image_set
    from largegan.evaluation.progress import progress_bar
    from largegan.metrics.statistics import is_statistics
    from largegan.parallel.launch import together

    if is_statistics(Path(arguments.real)):
        return together(world, lambda: scores.side_of_file(Path(arguments.real), extractor))
    images = together(
        world,
        lambda: open_image_set(
            arguments.real,
            on_error=arguments.on_error,
            device=world.device,
            labels="labels" in needs,
        ),
    )
    cache = None if arguments.no_cache else arguments.cache or scores.default_cache()
    return scores.reference_side(
        images,
        extractor,
        world,
        cache=cache,
        features="features" in needs,
        batch=arguments.batch,
        bar=progress_bar("reference", world),
    )


def generated_of(arguments: argparse.Namespace, extractor, world, metrics: list[str]):
    from largegan.evaluation import scores
    from largegan.evaluation.image_sets import open_image_set
    from largegan.evaluation.progress import progress_bar
    from largegan.metrics.statistics import is_statistics
    from largegan.parallel.launch import together

    path = Path(arguments.generated)
    if is_statistics(path):
        return together(world, lambda: scores.side_of_file(path, extractor))
    images = together(
        world,
        lambda: open_image_set(
            arguments.generated,
            count=arguments.count,
            seed=arguments.seed,
            truncation=arguments.truncation,
            classes=arguments.classes,
            standing=arguments.standing,
            raw=arguments.raw,
            on_error=arguments.on_error,
            device=world.device,
            labels="labels" in table.needs(metrics),
        ),
    )
    return scores.extract(
        images,
        extractor,
        world,
        batch=arguments.batch,
        chunks=arguments.chunks,
        features="features" in table.needs(metrics),
        logits=table.needs_classifier(metrics),
        bar=progress_bar("generated", world),
    )


def write(path: Path, reference, extractor) -> None:
    from largegan.metrics.statistics import Statistics, write_statistics

    made = {"backbone": extractor.backbone.as_dict(), "set": reference.about}
    write_statistics(path, Statistics(reference.gaussian, made, reference.features))
    print(f"{path}: {reference.gaussian.count} images, {reference.gaussian.dim} features")


def report(arguments: argparse.Namespace, answer: dict[str, Any]) -> None:
    """The table, the file, and the comparison with an earlier one."""
    from largegan.files.output import MARK, as_json, write_text

    for line in lines(answer):
        print(line)
    for line in answer["warnings"]:
        print(f"note: {line}")
    if arguments.json:
        write_text(arguments.json, as_json({"made_by": MARK, **answer}))
    if arguments.compare:
        for line in comparison(arguments.compare, answer):
            print(line)


def lines(answer: dict[str, Any]) -> list[str]:
    """Name, value, standard error, and what else is known of it."""
    from largegan.metrics.features import Backbone

    backbone = Backbone(**answer["protocol"]["backbone"])
    values, rows = answer["scores"], []
    for name, value in values.items():
        if not table.is_score(name):
            continue
        title = backbone.title(table.title(name))
        error = values.get(table.error_of(name), values.get(table.deviation_of(name)))
        bar = "" if error is None else f"± {error:.3g}"
        limit = values.get(f"{name}_limit")
        more = "" if limit is None else f"{limit:.4g} with very many generated images"
        rows.append(f"{title:28s} {value:10.5g} {bar:12s} {more}".rstrip())
    protocol = answer["protocol"]
    for key in ("reference", "generated"):
        about = protocol[key]
        part = f"[{about['part']}]" if about.get("part") else ""
        count = "unknown number of" if about["count"] is None else about["count"]
        rows.append(f"{key:28s} {count} images of {about['path']}{part}")
    network = f"{backbone.name} {backbone.sha256[:12]}, {backbone.size} px, {backbone.resize}"
    rows.append(f"{'features':28s} {network}")
    return rows


def comparison(path: Path, answer: dict[str, Any]) -> list[str]:
    """How far this is from an earlier score, in standard errors; refused when unlike."""
    from largegan.metrics.protocol import read_scores, refuse_unlike

    old, made = read_scores(path)
    refuse_unlike(made, answer["protocol"], names=(str(path), "this"))
    lines = []
    for name, value in answer["scores"].items():
        if old.get(name) is None or not table.is_score(name.split("/")[0]):
            continue
        change = value - old[name]
        errors = [s.get(table.error_of(name)) for s in (old, answer["scores"])]
        spread = None if None in errors else sum(e * e for e in errors) ** 0.5
        sure = f", {abs(change) / spread:.1f} standard errors" if spread else ""
        lines.append(f"{name}: {old[name]:.5g} before, {value:.5g} now ({change:+.3g}{sure})")
    return lines


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
