"""Draw from a checkpoint: a sheet (OUT is a .png, .jpg or .webp) or single files (OUT is a folder).

  largegan sample runs/quickstart sheet.png                      64 images, seeds 0 to 63
  largegan sample runs/quickstart sheet.png --grid 4x10 --classes 3
  largegan sample runs/quickstart images --count 5000            images/seed0000.png, ...
  largegan sample runs/quickstart images --seeds 0-15,42 --format jpg
  largegan sample runs/quickstart classes.png --class-rows       a row a class, the same z a column
  largegan sample runs/quickstart walk.png --interpolate 1,2,3   a row from 1 to 2, one from 2 to 3
  largegan sample runs/quickstart sum.png --arithmetic 3-8+5 1,2,3-4,5,6+7,8,9
  largegan sample runs/biggan sheet.png --sheet truncation --thresholds 0.3,0.7,1,2
  largegan sample runs/ali again.png --sheet reconstructions --images photos[:16]
  largegan sample runs/stylegan2 mix.png --sheet style-mixing --seeds 0-9 --layers 0-3
  largegan sample runs/biggan sweep --thresholds 0.3,0.7,1,2 --count 5000 --standing 16
                            sweep/0.3/seed0000.png, ..., sweep/manifest.json: what an FID or KID
                            against diversity is computed from, a point a folder

RUN is a run directory (its newest complete checkpoint is taken) or one RUN/checkpoints/NNNNNNNNN.
Images come from the averaged weights (EMA). An image depends on its seed and class alone: more
seeds, another batch or another device give the same image again. Where the checkpoint has classes,
seed s is of class number s modulo their count, or of those that --classes names, in turn. Files by
--count are for scores: their classes come as often as in the training data, unless --classes says.
Exit codes: 2 arguments, 3 the checkpoint is damaged, 4 the machine or its disk.
"""

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from largegan.api.device import choose_device
from largegan.cli import (
    MOST_CELLS,
    add_options,
    exit_code,
    new_parser,
    read_grid,
    read_seeds,
    what_to_draw,
    with_progress,
)
from largegan.files.claims import Outputs
from largegan.files.output import MARK, write_text
from largegan.files.words import Number, Numbers, to_name, to_path, to_source, to_text

if TYPE_CHECKING:
    from largegan.sampler import Sampler

PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("sample", __doc__)
    add_options(parser, "checkpoint")
    parser.add_argument("out", type=to_path, help="NAME.png, NAME.jpg, NAME.webp or a folder")
    add = parser.add_argument
    add(
        "--count",
        type=Number("Drawn"),
        help="seeds 0 to COUNT-1 (default: 64, or what the grid holds)",
    )
    add("--seeds", type=to_text, help="which ones instead, such as 0-15,42")
    add(
        "--grid",
        type=to_text,
        metavar="RxC",
        help="rows and columns of a sheet (default: nearly square)",
    )
    add("--files", action="store_true", help="single files, whatever OUT is called")
    add_options(parser, "--classes", "--truncation", "--toward", "--standing", "--raw")
    add("--thresholds", type=Numbers("Truncation"), default=(), metavar="T,T",
        help="several truncations: a row or a folder each")  # fmt: skip
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--class-rows", action="store_true",
        help="a row per class, the same latent in each column (default: 8 seeds)")  # fmt: skip
    modes.add_argument("--interpolate", type=to_text, metavar="SEEDS",
        help="from each seed to the next, a row each")  # fmt: skip
    modes.add_argument("--arithmetic", type=to_text, nargs="+", metavar="A-B+C",
        help="a row each: a, b, c and what a - b + c gives; A, B, C are seeds, or several with "
        "commas, averaged (Radford et al., 2016); normal z keeps its variance")  # fmt: skip
    modes.add_argument("--sheet", type=to_name, metavar="NAME", help=sheet_help())
    add("--layers", type=to_text, help="of style mixing, such as 0-3 (default: the first half)")
    add("--images", type=to_source, metavar="PATH",
        help="real images, of the network's size: a folder, zip, npz or shards, such as photos or "
        "photos[100:116]")  # fmt: skip
    add("--steps", type=Number("Steps"), default=8,
        help="images in a row of interpolation (default: 8)")  # fmt: skip
    add("--path", choices=("auto", "linear", "spherical"), default="auto",
        help="how --interpolate goes; auto: an arc for normal z, a line for uniform z")  # fmt: skip
    add("--format", choices=("png", "jpg", "webp"), default="png",
        help="of single files (default: png)")  # fmt: skip
    add_options(parser, "--batch", "--device", "--overwrite")
    return parser.parse_args(argv)


def sheet_help() -> str:
    """The rows of the table, which imports nothing heavy: --help must be quick."""
    from largegan.viz.sheet_table import SHEETS

    return "; ".join(f"{name}: {row.what}" for name, row in SHEETS.items())


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    check(arguments)
    from largegan.sampler import open_sampler, seeded
    from largegan.sampler.standing import use_standing_statistics
    from largegan.viz.pictures import write_picture

    device, what = choose_device(arguments.device), what_to_draw(arguments)
    sampler = open_sampler(arguments.checkpoint, device, **what, raw=arguments.raw)
    seeds = seeds_of(arguments)
    check_size(arguments, seeds)
    thresholds = arguments.thresholds
    own = sampler.recipe.picture(seeded(seeds[0], sampler.device))
    if own is not None:
        refuse_modes(arguments)
        picture = own
    elif is_folder(arguments) and thresholds:
        return write_sweep(sampler, arguments, seeds, thresholds)
    else:
        if arguments.standing:
            use_standing_statistics(sampler, batches=arguments.standing, batch=arguments.batch)
        if is_folder(arguments):
            return write_files(sampler, arguments, seeds, arguments.out)
        picture = make_sheet(sampler, arguments, seeds, thresholds)
    write_picture(arguments.out, picture)
    print(f"{arguments.out}: {picture.shape[2]}x{picture.shape[1]} pixels")


def make_sheet(sampler: "Sampler", arguments: argparse.Namespace, seeds: list[int], thresholds):
    """uint8 `[C, H, W]`."""
    from largegan.viz.arithmetic import Sum, arithmetic_sheet
    from largegan.viz.sheets import Request, draw_sheet

    name = sheet_name(arguments)
    if name:
        layers = tuple(read_seeds(arguments.layers, "--layers")) if arguments.layers else ()
        images = None
        if arguments.images:
            from largegan.evaluation.reconstruction import read_like

            images = read_like(arguments.images, sampler)
        request = Request(tuple(seeds), arguments.steps, arguments.path, thresholds, layers, images)
        return draw_sheet(name, sampler, request)
    if arguments.arithmetic:
        sums = [(text, *read_sum(text)) for text in arguments.arithmetic]
        return arithmetic_sheet(sampler, [Sum(*one) for one in sums])
    return grid_sheet(sampler, seeds, arguments)


def sheet_name(arguments: argparse.Namespace) -> str | None:
    """The row of `SHEETS` that was asked for, by its name or by an option of its own."""
    if arguments.class_rows:
        return "classes"
    return "interpolation" if arguments.interpolate else arguments.sheet


def check(arguments: argparse.Namespace) -> None:
    """Refuses what cannot be done before anything heavy is loaded."""
    from largegan.errors import ConfigError
    from largegan.viz.sheet_table import SHEETS

    sheet_only = {"--class-rows": arguments.class_rows, "--interpolate": arguments.interpolate}
    sheet_only |= {"--arithmetic": arguments.arithmetic, "--grid": arguments.grid}
    sheet_only |= {"--sheet": arguments.sheet}
    wanted = [name for name, given in sheet_only.items() if given]
    if wanted and is_folder(arguments):
        raise ConfigError(f"{wanted[0]} makes one sheet; give an OUT such as sheet.png")
    check_sheet(arguments)
    if arguments.images and not (arguments.sheet and SHEETS[arguments.sheet].images):
        about = [name for name, row in SHEETS.items() if row.images]
        raise ConfigError(f"--images is for --sheet {' or '.join(about)}")
    if arguments.count is not None and arguments.seeds is not None:
        raise ConfigError("--count and --seeds both say which images to draw; give one of them")
    claims = outputs_of(arguments)
    if is_folder(arguments):
        claims.folder(arguments.out, apart=True)
    else:
        claims.file(arguments.out)


def check_size(arguments: argparse.Namespace, seeds: list[int]) -> None:
    """A sheet is one picture in memory. Raises ConfigError for too many cells."""
    from largegan.errors import ConfigError

    cells = len(seeds) * max(1, len(arguments.thresholds))
    cells *= arguments.steps if sheet_name(arguments) else 1
    if cells > MOST_CELLS and not is_folder(arguments):
        raise ConfigError(
            f"{cells:,} pictures are too many for a sheet, which has at most {MOST_CELLS:,}; give "
            "fewer seeds, or a folder as OUT"
        )


def outputs_of(arguments: argparse.Namespace) -> Outputs:
    from largegan.checkpoint import parts_of_run

    reads = [*parts_of_run(arguments.checkpoint), arguments.images]
    return Outputs(reads, overwrite=arguments.overwrite)


def check_sheet(arguments: argparse.Namespace) -> None:
    from largegan.errors import ConfigError
    from largegan.viz.sheet_table import SHEETS

    if arguments.sheet and arguments.sheet not in SHEETS:
        known = ", ".join(SHEETS)
        raise ConfigError(f"there is no sheet {arguments.sheet!r}; give one of {known}")
    if arguments.thresholds and not (is_folder(arguments) or arguments.sheet == "truncation"):
        raise ConfigError("--thresholds are for --sheet truncation, or for a folder of sweeps")
    if arguments.thresholds and arguments.truncation is not None:
        raise ConfigError(
            "--thresholds and --truncation both say how to truncate; give one of them"
        )
    if arguments.toward == "class" and not arguments.thresholds and arguments.truncation is None:
        raise ConfigError("--toward class needs a --truncation, such as 0.7")


def refuse_modes(arguments: argparse.Namespace) -> None:
    """A recipe that has its own picture makes no images that could be arranged."""
    from largegan.errors import ConfigError

    modes = (sheet_name(arguments), arguments.arithmetic, arguments.grid)
    if is_folder(arguments) or any(modes):
        raise ConfigError(
            "this recipe makes no images; give an OUT that ends in .png, and no mode: its picture"
        )


def is_folder(arguments: argparse.Namespace) -> bool:
    return arguments.files or arguments.out.suffix.lower() not in PICTURES


def seeds_of(arguments: argparse.Namespace) -> list[int]:
    """The seeds to draw, from the first option that speaks of them."""
    if arguments.interpolate:
        return read_pairs(arguments.interpolate)
    if arguments.seeds is not None:
        return read_seeds(arguments.seeds)
    count = arguments.count
    if count is None and arguments.grid:
        rows, columns = read_grid(arguments.grid)
        count = rows * columns
    return list(range(count or default_count(arguments)))


def default_count(arguments: argparse.Namespace) -> int:
    """As many as the sheet wants, or 64."""
    from largegan.viz.sheet_table import SHEETS

    name = sheet_name(arguments)
    return SHEETS[name].seeds if name else 64


def read_pairs(text: str) -> list[int]:
    from largegan.errors import ConfigError

    seeds = read_seeds(text)
    if len(seeds) < 2:
        raise ConfigError(f"--interpolate {text} names one seed; it needs two or more, such as 1,2")
    return seeds


def read_sum(text: str) -> tuple[list[int], list[int], list[int]]:
    """ "1,2-3+4" -> ([1, 2], [3], [4])."""
    from largegan.errors import ConfigError

    group = r"(\d+(?:,\d+)*)"
    found = re.fullmatch(rf"{group}-{group}\+{group}", text.replace(" ", ""))
    if not found:
        raise ConfigError(
            f"cannot read {text!r}; write A-B+C with seeds, such as 3-8+5 or 1,2-3,4+5,6"
        )
    a, b, c = (read_seeds(found[i]) for i in (1, 2, 3))
    return a, b, c


def grid_sheet(sampler: "Sampler", seeds: list[int], arguments: argparse.Namespace):
    """uint8 `[C, H', W']`: seeds row by row."""
    from largegan.errors import ConfigError
    from largegan.viz.layout import fill, sheet

    columns = round(len(seeds) ** 0.5)
    rows = -(-len(seeds) // columns)
    if arguments.grid:
        rows, columns = read_grid(arguments.grid)
    if rows * columns < len(seeds):
        raise ConfigError(f"--grid {arguments.grid} is too small for {len(seeds)} images")
    drawn = with_progress(sampler.by_seed(seeds, batch=arguments.batch), len(seeds))
    return sheet(fill((image for _, image in drawn), rows=rows, columns=columns))


def write_files(sampler: "Sampler", arguments: argparse.Namespace, seeds: list[int], folder: Path):
    """seed0001.png, or seed0001-CLASS.png, in `folder`."""
    from largegan.viz.pictures import write_picture

    ending = arguments.format
    if arguments.seeds is None:  # so many, to be scored, and not some that are known by name
        sampler = sampler.as_in_data()
    paths = {seed: folder / f"{file_name(sampler, seed)}.{ending}" for seed in seeds}
    outputs_of(arguments).inside(folder, [path.name for path in paths.values()])
    drawn = sampler.by_seed(list(paths), batch=arguments.batch)
    for seed, image in with_progress(drawn, len(paths)):
        write_picture(paths[seed], image)
    print(f"{folder}: {len(paths)} files")


def write_sweep(sampler: "Sampler", arguments: argparse.Namespace, seeds: list[int], thresholds):
    """OUT/T/seed0001.png for each threshold T, and OUT/manifest.json, which is written last."""
    from largegan.sampler.standing import use_standing_statistics

    manifest = arguments.out / "manifest.json"
    outputs_of(arguments).inside(arguments.out, [manifest.name])
    sets = []
    for amount in thresholds:
        here = sampler.truncated(amount)
        if arguments.standing:  # statistics of images as they are drawn at this threshold
            use_standing_statistics(here, batches=arguments.standing, batch=arguments.batch)
        write_files(here, arguments, seeds, arguments.out / f"{amount:g}")
        sets.append({"truncation": amount, "folder": f"{amount:g}", "count": len(set(seeds))})
    about = {
        "made_by": MARK,
        "checkpoint": str(arguments.checkpoint),
        "classes": list(sampler.classes),
        "standing_batches": arguments.standing,
        "batch": arguments.batch,
        "sets": sets,
    }
    write_text(manifest, json.dumps(about, indent=1) + "\n")


def file_name(sampler: "Sampler", seed: int) -> str:
    label = sampler.label(seed)
    if label is None:
        return f"seed{seed:04d}"
    return f"seed{seed:04d}-{re.sub(r'[^A-Za-z0-9]+', '_', sampler.class_name(label))}"


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
