#!/usr/bin/env python
"""Write the codes of real images, by a recipe with an encoder (ali, bigan), and how well they say.

  encode.py runs/ali photos codes.npz
  encode.py runs/ali shards[::10] codes.npz --count 1000

IMAGES is a folder, zip, npz or shards of images of the network's size; a path may end in
[START:STOP:STEP]. OUT.npz holds `z` [N, z_dim] float32, `names` where the images have some,
`mse` [N] of pixels in [-1, 1] and `psnr` [N] in dB between each image and its reconstruction, and
`model`, the sha256 of the weights. Exit codes: 2 arguments, 3 an image or the checkpoint is bad.
"""

import argparse
import sys
from pathlib import Path

from largegan.cli import choose_device, exit_code, with_progress


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="encode.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="RUN or RUN/checkpoints/NNNNNNNNN")
    parser.add_argument("images", help="folder, zip, npz or shards")
    parser.add_argument("out", type=Path, metavar="OUT.npz")
    add = parser.add_argument
    add("--count", type=int, help="the first so many (default: all)")
    add("--batch", type=int, default=64, help="images computed at once (default: 64)")
    add("--device", help="cpu, cuda, cuda:1, ... (default: a GPU if there is one)")
    add("--overwrite", action="store_true", help="replace OUT if it exists")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    from largegan.errors import ConfigError

    if arguments.out.suffix != ".npz":
        raise ConfigError(f"OUT is {arguments.out}; give a name that ends in .npz")
    for name in ("count", "batch"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name} is {value}; it must be at least 1")
    from largegan.checkpoint import parts_of_run
    from largegan.files.output import Outputs

    reads = [*parts_of_run(arguments.checkpoint), arguments.images]
    Outputs(reads, overwrite=arguments.overwrite).file(arguments.out)

    import numpy as np
    import torch

    from largegan.evaluation.image_sets import open_image_set
    from largegan.evaluation.reconstruction import encode_all, require_encoder
    from largegan.restore import restore
    from largegan.sampler import open_sampler

    sampler = open_sampler(arguments.checkpoint, choose_device(arguments.device))
    require_encoder(sampler)
    images = open_image_set(arguments.images, count=arguments.count)
    steps = -(-images.count // arguments.batch)
    parts = list(
        with_progress(encode_all(sampler, images, batch=arguments.batch), steps, what="encoding")
    )
    arrays = {
        "z": torch.cat([part.codes for part in parts]).numpy(),
        "mse": torch.cat([part.errors for part in parts]).numpy(),
        "psnr": torch.cat([part.psnr for part in parts]).numpy(),
        "model": np.array(restore(arguments.checkpoint).model),
    }
    names = getattr(getattr(images, "originals", None), "names", None)
    if names:
        arrays["names"] = np.array([names[n] for n in images.numbers])
    write(arguments.out, arrays)
    mean, count = arrays["mse"].mean(), len(arrays["z"])
    error = arrays["mse"].std(ddof=1) / count**0.5 if count > 1 else 0.0
    print(f"{arguments.out}: {count} codes of {arrays['z'].shape[1]} numbers, reconstruction error "
          f"{mean:.4f} +- {error:.4f} (mean squared, pixels in [-1, 1]), PSNR "
          f"{arrays['psnr'].mean():.2f} dB")  # fmt: skip


def write(path: Path, arrays: dict) -> None:
    """A complete file under its name, or nothing."""
    import numpy as np

    from largegan.files.output import MARK, writing

    with writing(path) as partial:
        np.savez(partial, **{MARK: np.int8(1)}, **arrays)


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))


if __name__ == "__main__":
    sys.exit(main())
