"""Draw the main directions of w: where the styles of a StyleGAN vary most.

  largegan directions runs/faces directions.png                 8 directions, seeds 0 and 1
  largegan directions runs/faces d.png --count 12 --seeds 5,9 --amounts -3,-1.5,0,1.5,3
  largegan directions runs/faces d.png --save directions.safetensors

A row per direction and seed, a column per amount in standard deviations; its name says which part
of w's variance lies along it. Directions are principal components of w over 10,000 latents
(Härkönen et al., 2020). --save writes mean [w], axes [count, w], deviations and share [count].
In Python: `largegan.load("runs/faces").directions(8)`.
Exit codes: 2 arguments, 3 the checkpoint is damaged, 4 the machine or its disk.
"""

import argparse
from pathlib import Path

from largegan.api.device import choose_device
from largegan.cli import (
    add_options,
    exit_code,
    new_parser,
    read_seeds,
)
from largegan.files.words import Number, to_path, to_text


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("directions", __doc__)
    add_options(parser, "checkpoint")
    parser.add_argument("out", type=to_path, help="NAME.png, NAME.jpg or NAME.webp")
    add = parser.add_argument
    add("--count", type=Number("Neighbors"), default=8, help="directions (default: 8)")
    add("--seeds", type=to_text, default="0-1", help="whose images are moved (default: 0-1)")
    add("--amounts", type=amounts, default=(-2.0, -1.0, 0.0, 1.0, 2.0), metavar="K,K",
        help="standard deviations; write --amounts=-3,0,3 (default: -2,-1,0,1,2)")  # fmt: skip
    add("--save", type=to_path, metavar="FILE", help="write the directions as safetensors")
    add_options(parser, "--classes", "--truncation", "--device", "--overwrite")
    return parser.parse_args(argv)


def amounts(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(word) for word in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(abs(k) <= 100 for k in found):
        raise argparse.ArgumentTypeError(f"{text!r} are no amounts such as -2,0,2")
    return found


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    from largegan.checkpoint import parts_of_run
    from largegan.errors import ConfigError
    from largegan.files.claims import Outputs
    from largegan.sampler import open_sampler, require_styles
    from largegan.viz.pictures import PICTURES, write_picture

    if arguments.out.suffix.lower() not in PICTURES:
        raise ConfigError(f"OUT is {arguments.out}; give a name that ends in {PICTURES[0]}")
    claims = Outputs(parts_of_run(arguments.checkpoint), overwrite=arguments.overwrite)
    claims.file(arguments.out)
    if arguments.save:
        claims.file(arguments.save, "--save")
    seeds = read_seeds(arguments.seeds)
    sampler = open_sampler(
        arguments.checkpoint,
        choose_device(arguments.device),
        classes=arguments.classes,
        truncation=arguments.truncation,
    )
    require_styles(sampler.recipe)
    from largegan.viz.directions import directions_sheet, find_directions

    directions = find_directions(sampler, arguments.count)
    picture = directions_sheet(sampler, directions, seeds, arguments.amounts)
    write_picture(arguments.out, picture)
    print(f"{arguments.out}: {picture.shape[2]}x{picture.shape[1]} pixels")
    if arguments.save:
        save(arguments.save, directions)
    shares = ", ".join(f"{100 * float(share):.1f} %" for share in directions.share)
    print(f"parts of the variance of w: {shares}")


def save(path: Path, directions) -> None:
    from safetensors.torch import save_file

    from largegan.files.output import MARK, writing

    with writing(path) as partial:
        tensors = {name: t.contiguous() for name, t in vars(directions).items()}
        save_file(tensors, partial, {"made_by": MARK})


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
