"""Draw toys side by side: the target, and what each run's generator makes of uniform noise.

  largegan toys runs/gaussian_toy runs/gaussian_mmd_toy both.png

Each RUN is of a recipe that learns the 1-D Gaussian (gaussian, gaussian_mmd), or one of its
checkpoints. Exit codes: 2 arguments, 3 a checkpoint is damaged.
"""

import argparse

from largegan.cli import add_options, exit_code, new_parser
from largegan.files.words import to_path


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("toys", __doc__)
    parser.add_argument("runs", type=to_path, nargs="+", metavar="RUN")
    parser.add_argument("out", type=to_path, help="NAME.png")
    add_options(parser, "--overwrite")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    from largegan.checkpoint import parts_of_run
    from largegan.errors import ConfigError
    from largegan.files.claims import Outputs

    if arguments.out.suffix.lower() != ".png":
        raise ConfigError(f"OUT is {arguments.out}; give a name that ends in .png")
    reads = [part for run in arguments.runs for part in parts_of_run(run)]
    Outputs(reads, overwrite=arguments.overwrite).file(arguments.out)

    import torch

    from largegan.restore import restore
    from largegan.sampler import seeded
    from largegan.viz.pictures import write_picture

    pictures = []
    for path in arguments.runs:
        found = restore(path)
        picture = found.recipe.picture(seeded(0))
        if picture is None:
            raise ConfigError(f"{path} is of recipe {found.name}, which is no 1-D toy")
        facts = found.recipe.measure(seeded(0))
        words = "  ".join(f"{name} {value:.2f}" for name, value in facts.items())
        print(f"{path}: {found.name}, {found.nimg:,} examples: {words}")
        pictures.append(picture)
    write_picture(arguments.out, torch.cat(pictures, 2))


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
