"""Make low-resolution images of high-resolution ones, as super-resolution is trained and scored.

  largegan reduce photos photos-x4 --scale 4

Every image becomes smaller by SCALE: antialiased bicubic (MATLAB's imresize), rounded to 8 bits,
saved as PNG under its name. Sides that SCALE does not divide lose a few pixels on the right and
below; with --truths those cut originals are written as well, to score against. IN is a folder, a
.zip, a .txt list, shards or one image. Exit codes: 2 arguments, 3 an image is bad, 4 the disk.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from largegan.cli import add_options, exit_code, new_parser
from largegan.files.words import Number, to_path, to_source

if TYPE_CHECKING:
    from largegan.data.account import Account
    from largegan.translation.sources import Item


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
    parser.add_argument("--on-error", choices=("raise", "skip"), default="raise",
        help="skip: leave out images that cannot be read, and say so (default: raise)")  # fmt: skip
    add_options(parser, "--overwrite")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    from tqdm import tqdm

    from largegan.data.account import Account
    from largegan.errors import DataError, shown

    account = Account()
    items = claimed(arguments, account)
    for sentence in account.sentences():
        print(f"note: {sentence}", file=sys.stderr)
    faults = reduce_all(tqdm(items, unit="img", desc="reducing", disable=None), arguments)
    for fault in faults:
        print(f"skipped: {fault}", file=sys.stderr)
    taken = len(items) - len(faults)
    if not taken:
        raise DataError(f"no image of {shown(arguments.source)} could be made smaller; see above")
    skipped = f", {len(faults)} skipped" if faults else ""
    print(f"{arguments.out}: {taken} images, {arguments.scale} times smaller{skipped}")


def claimed(arguments: argparse.Namespace, account: "Account") -> "list[Item]":
    """What is to become smaller, once it is sure that it can be written. Raises UserError."""
    from largegan.errors import ConfigError
    from largegan.files.claims import Outputs
    from largegan.translation.sources import find_items

    folders = list(filter(None, (arguments.out, arguments.truths)))
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError(f"OUT and --truths are both {arguments.out}; they hold the same names")
    claims = Outputs([arguments.source], overwrite=arguments.overwrite)
    for folder in folders:
        claims.folder(folder, apart=True)
    items = find_items(arguments.source, account=account)
    names = [name_of(item) for item in items]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice:
        raise ConfigError(f"two images of {arguments.source} would both become {twice}; rename one")
    for folder in folders:
        claims.inside(folder, names)
    claims.protect(item.path for item in items if item.path)
    if len({(f / n).resolve() for f in folders for n in names}) < len(folders) * len(names):
        raise ConfigError("OUT and --truths would hold the same files; give one of them elsewhere")
    return items


def name_of(item: "Item") -> str:
    """What a small image is called, below OUT."""
    return PurePosixPath(item.name).with_suffix(".png").as_posix()


def reduce_all(items: "Iterable[Item]", arguments: argparse.Namespace) -> list[str]:
    """A sentence for each image that was left out. Raises DataError where none may be."""
    from largegan.errors import DataError

    faults = []
    for item in items:
        try:
            reduce(item, arguments)
        except DataError as fault:
            if arguments.on_error == "raise":
                raise
            faults.append(str(fault))
    return faults


def reduce(item: "Item", arguments: argparse.Namespace) -> None:
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
    name = name_of(item)
    save(arguments.out / name, small[0].permute(1, 2, 0))
    if arguments.truths:
        save(arguments.truths / name, torch.from_numpy(pixels.copy()))


def load(item: "Item"):
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
