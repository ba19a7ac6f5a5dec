"""Write the codes of real images, by a recipe with an encoder (ali, bigan), and how well they say.

  largegan encode runs/ali photos codes.npz
  largegan encode runs/ali shards[::10] codes.npz --count 1000

IMAGES is a folder, zip, npz or shards of images of the network's size; a path may end in
[START:STOP:STEP]. OUT.npz holds `z` [N, z_dim] float32, `names` where the images have some,
`mse` [N] of pixels in [-1, 1] between each image and its reconstruction, and `model`, the sha256 of
the weights. Exit codes: 2 arguments, 3 an image or the checkpoint is bad.
"""

import argparse
from pathlib import Path

from largegan.api.device import choose_device
from largegan.cli import (
    add_options,
    exit_code,
    new_parser,
    with_progress,
)
from largegan.files.words import Number, to_path, to_source


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("encode", __doc__)
    add_options(parser, "checkpoint")
    parser.add_argument("images", type=to_source, help="folder, zip, npz or shards")
    parser.add_argument("out", type=to_path, metavar="OUT.npz")
    add = parser.add_argument
    add("--count", type=Number("Count"), help="the first so many (default: all)")
    add_options(parser, "--batch", "--device", "--overwrite")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    from largegan.errors import ConfigError

    if arguments.out.suffix.lower() != ".npz":
        raise ConfigError(f"OUT is {arguments.out}; give a name that ends in .npz")
    from largegan.checkpoint import parts_of_run
    from largegan.files.claims import Outputs

    reads = [*parts_of_run(arguments.checkpoint), arguments.images]
    Outputs(reads, overwrite=arguments.overwrite).file(arguments.out)

    import numpy as np
    import torch

    from largegan.evaluation.image_kinds import Files
    from largegan.evaluation.image_sets import open_image_set
    from largegan.evaluation.reconstruction import encode_all
    from largegan.sampler import open_sampler

    sampler = open_sampler(arguments.checkpoint, choose_device(arguments.device))
    images = open_image_set(arguments.images, count=arguments.count)
    steps = -(-images.count // arguments.batch)
    parts = list(
        with_progress(encode_all(sampler, images, batch=arguments.batch), steps, what="encoding")
    )
    arrays = {
        "z": torch.cat([part.codes for part in parts]).numpy(),
        "mse": torch.cat([part.errors for part in parts]).numpy(),
        "model": np.array(sampler.model),
    }
    if isinstance(images, Files) and images.originals.names:
        arrays["names"] = np.array([images.originals.names[n] for n in images.numbers])
    write(arguments.out, arrays)
    mean, count = arrays["mse"].mean(), len(arrays["z"])
    error = arrays["mse"].std(ddof=1) / count**0.5 if count > 1 else 0.0
    print(
        f"{arguments.out}: {count} codes of {arrays['z'].shape[1]} numbers, reconstruction error "
        f"{mean:.3g} +- {error:.2g} (mean square, pixels in [-1, 1])"
    )


def write(path: Path, arrays: dict) -> None:
    """A complete file under its name, or nothing."""
    import numpy as np

    from largegan.files.output import MARK, writing

    with writing(path, ending=".npz") as partial:
        np.savez(partial, **{MARK: np.int8(1)}, **arrays)


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
