"""Make low-resolution images of high-resolution ones, as super-resolution is trained and scored.

  largegan reduce photos photos-x4 --scale 4

Every image becomes smaller by SCALE: antialiased bicubic (MATLAB's imresize), rounded to 8 bits,
saved as PNG under its name. Sides that SCALE does not divide lose a few pixels on the right and
below; with --truths those cut originals are written as well, to score against. IN is a folder, a
.zip, a .txt list, shards or one image. Exit codes: 2 arguments, 3 an image is bad, 4 the disk.
"""

import argparse
import sys
from pathlib import Path, PurePosixPath

from largegan.cli import add_options, exit_code, new_parser
from largegan.files.words import Number, to_path, to_source


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("reduce", __doc__)
    parser.add_argument(
        "source", type=to_source, metavar="IN", help="folder, .zip, .txt list, shards or image"
    )
    parser.add_argument("out", metavar="OUT", type=to_path, help="folder for the small images")
    parser.add_argument(
        "--scale", type=Number("Reduction"), default=4, help="how much smaller (default: 4)"
    )
    parser.add_argument("--truths", type=to_path, help="folder for the originals, cut to fit")
    add_options(parser, "--overwrite")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    from tqdm import tqdm

    from largegan.data.account import Account
    from largegan.errors import ConfigError
    from largegan.files.claims import Outputs
    from largegan.translation.sources import find_items

    if arguments.truths and arguments.truths.resolve() == arguments.out.resolve():
        raise ConfigError(f"OUT and --truths are both {arguments.out}; they hold the same names")
    claims = Outputs([arguments.source], overwrite=arguments.overwrite)
    folders = list(filter(None, (arguments.out, arguments.truths)))
    for folder in folders:
        claims.folder(folder, apart=True)
    account = Account()
    items = find_items(arguments.source, account=account)
    names = [PurePosixPath(item.name).with_suffix(".png").as_posix() for item in items]
    twice = (
        next((name for name in names if names.count(name) > 1), None)
        if len(set(names)) < len(names)
        else None
    )
    if twice:
        raise ConfigError(f"two images of {arguments.source} would both become {twice}; rename one")
    for folder in folders:
        claims.inside(folder, names)
    if len({(folder / name).resolve() for folder in folders for name in names}) < len(
        folders
    ) * len(names):
        raise ConfigError("OUT and --truths would hold the same files; give one of them elsewhere")
    for sentence in account.sentences():
        print(f"note: {sentence}", file=sys.stderr)
    for item in tqdm(items, unit="img", desc="reducing", disable=None):
        reduce(item, arguments)
    print(f"{arguments.out}: {len(items)} images, {arguments.scale} times smaller")


def reduce(item, arguments: argparse.Namespace) -> None:
    """One image and, where asked for, its truth."""
    import torch

    from largegan.errors import DataError
    from largegan.layers.resize import imresize

    pixels, scale = load(item), arguments.scale
    height, width = (side // scale for side in pixels.shape[:2])
    if not height or not width:
        raise DataError(f"{item.name} is smaller than {scale} pixels; leave it out")
    pixels = pixels[: height * scale, : width * scale]
    planes = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].double()
    small = imresize(planes, (height, width)).round().clamp(0, 255).to(torch.uint8)
    name = PurePosixPath(item.name).with_suffix(".png")
    save(arguments.out / name, small[0].permute(1, 2, 0))
    if arguments.truths:
        save(arguments.truths / name, torch.from_numpy(pixels.copy()))


def load(item):
    """uint8 `[H, W, 3]`, over white where it is transparent."""
    import numpy as np

    from largegan.errors import DataError
    from largegan.files import photos
    from largegan.files.reading import reading

    try:
        with reading(item.name):
            pixels = photos.for_network(photos.read(item.read()), 3, (255, 255, 255))
    except (photos.BadImage, OSError) as fault:
        raise DataError(f"{item.name} {fault}") from fault
    if pixels.dtype != np.uint8:
        raise DataError(f"{item.name} has pixels of type {pixels.dtype}; give images of 8 bits")
    return pixels


def save(path: Path, pixels) -> None:
    """uint8 `[H, W, 3]` as a complete PNG under its name, or nothing."""
    from largegan.viz.pictures import write_picture

    write_picture(path, pixels.permute(2, 0, 1))


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
