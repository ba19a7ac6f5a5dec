"""Translate images of any size with a CycleGAN, pix2pix or CUT: IN -> OUT, with the same names.

  largegan translate runs/horse2zebra photos zebras               a folder, and the folders below it
  largegan translate runs/horse2zebra photos.zip horses --direction b_to_a
  largegan translate runs/stain slides.txt stained --norm-stats exact --sheet before_after.png
  largegan translate runs/ct2mr scans mr --window=-1000,2000      16-bit PNG or TIFF stay 16-bit
  accelerate launch --multi_gpu --num_processes 8 -m largegan translate runs/stain slides stained

CHECKPOINT is a run directory (its newest complete checkpoint), one RUN/checkpoints/NNNNNNNNN, or a
folder that largegan export wrote. IN is a folder, a .zip, a .txt with a path a line, tar shards or
one image. A translation is as large as its image and of the same kind: EXIF orientation is baked
in, transparency is put back, 16 bits stay 16 bits. OUT/manifest.jsonl says what was made of what.
The same command again goes on where it was stopped.

Large images: a network with instance norm mixes colors over the whole image, so tiles that are
translated one by one do not match. --norm-stats chooses what to do about it:
  full       the whole frame at once; needs about 2 KB of memory a pixel at the usual width
  thumbnail  tiles with the statistics of a reduced image: nearly as fast, nearly the same
  exact      tiles with the statistics of the whole image: the same numbers as full, many passes
  tile       tiles with their own statistics, blended: colors drift
  auto       full where it fits into memory, else thumbnail (default)

Exit codes: 2 arguments, 3 an image or the checkpoint is bad, 4 the machine or its disk.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from largegan.api.device import choose_device
from largegan.cli import (
    add_options,
    color,
    exit_code,
    new_parser,
    read_window,
)
from largegan.files.words import Number, to_name, to_path, to_source

if TYPE_CHECKING:
    from largegan.files.claims import Outputs


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("translate", __doc__)
    parser.add_argument(
        "checkpoint", type=to_path, help="RUN, RUN/checkpoints/NNNNNNNNN or exported"
    )
    parser.add_argument(
        "source", type=to_source, metavar="IN", help="folder, .zip, .txt list, shards or image"
    )
    parser.add_argument("out", metavar="OUT", type=to_path, help="folder for the translations")
    add = parser.add_argument
    add(
        "--direction",
        type=to_name,
        help="such as a_to_b or b_to_a (default: the checkpoint's first)",
    )
    add("--norm-stats", choices=("auto", "full", "thumbnail", "exact", "tile"), default="auto",
        help="how large images are translated; see above (default: auto)")  # fmt: skip
    add("--tile", type=Number("Side"), default=512, metavar="PIXELS",
        help="side of a tile, without the halo that it is read with (default: 512)")  # fmt: skip
    add("--thumbnail", type=Number("Side"), default=512, metavar="PIXELS",
        help="longer side of the image that statistics are taken from (default: 512)")  # fmt: skip
    add("--window", type=read_window, metavar="LO,HI",
        help="stored values that mean black and white, for instance of CT; what is outside is "
        "clipped (default: all that the pixel type can hold)")  # fmt: skip
    add("--background", type=color, default=(255, 255, 255), metavar="R,G,B",
        help="color behind transparent pixels while translating (default: white)")  # fmt: skip
    add("--ext", choices=("keep", "png", "jpg", "tif", "webp"), default="keep",
        help="format of the translations (default: that of the image)")  # fmt: skip
    add("--batch-size", type=Number("Batch"), default=1,
        help="images of one size at once (default: 1)")  # fmt: skip
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="(default: fp32)")
    add("--threads", type=Number("Threads"), default=2,
        help="for decoding and encoding (default: 2)")  # fmt: skip
    add(
        "--sheet",
        type=to_path,
        metavar="FILE",
        help="before and after as one picture, .png or .jpg",
    )
    add("--sheet-count", type=Number("Shown"), default=16,
        help="images on the sheet (default: 16)")  # fmt: skip
    add_options(parser, "--device", "--overwrite")
    return parser.parse_args(argv)


def check(arguments: argparse.Namespace) -> None:
    """Refuses what cannot be done before anything heavy is loaded."""
    from largegan.errors import ConfigError

    if arguments.out.is_file() or arguments.out.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif"):
        raise ConfigError(f"OUT is a folder, and {arguments.out} looks like a file; name a folder")
    source = Path(arguments.source)
    if source.resolve() == arguments.out.resolve():
        raise ConfigError(f"IN and OUT are both {source}; translations need a folder of their own")
    if source.is_file() and source.resolve().parent == arguments.out.resolve():
        raise ConfigError(f"{source} lies in OUT; translations need a folder of their own")


def claim(arguments: argparse.Namespace) -> "Outputs":
    """Refuses what would be written over or into what is read."""
    from largegan.checkpoint import parts_of_run
    from largegan.errors import ConfigError
    from largegan.files.claims import Outputs
    from largegan.viz.pictures import PICTURES

    reads = [*parts_of_run(arguments.checkpoint), arguments.source]
    Outputs(reads).folder(arguments.out, apart=True)
    claims = Outputs(reads, overwrite=arguments.overwrite)
    if arguments.sheet:
        if arguments.sheet.suffix.lower() not in PICTURES:
            raise ConfigError(f"--sheet {arguments.sheet} must end in {', '.join(PICTURES)}")
        claims.file(arguments.sheet, "--sheet", again=True)
    return claims


def refuse_own(arguments: argparse.Namespace, outputs) -> None:
    """A sheet must not take the place of a translation, nor of their list. Raises ConfigError."""
    from largegan.errors import ConfigError
    from largegan.translation.manifest import NAME

    if arguments.sheet is None:
        return
    place = arguments.sheet.parent.resolve() / arguments.sheet.name
    if place in {arguments.out.resolve() / name for name in (*outputs, NAME)}:
        raise ConfigError(f"--sheet is {arguments.sheet}, a translation's name; choose another")


def run(arguments: argparse.Namespace) -> int:
    """The exit code. Raises UserError."""
    check(arguments)
    from largegan.parallel.launch import connect, disconnect

    try:
        return translate(arguments, connect())
    finally:
        disconnect()


def translate(arguments: argparse.Namespace, world) -> int:
    """Translates this process's share of the images; the exit code."""
    from largegan.data.account import Account
    from largegan.files.claims import keep_inside
    from largegan.translation.sources import find_items
    from largegan.translation.translator import open_translator
    from largegan.translation.work import How, Job, cannot_write, outputs_of

    account = Account()
    how = How(
        norm_stats=arguments.norm_stats,
        tile=arguments.tile,
        thumbnail=arguments.thumbnail,
        precision=arguments.precision,
        window=arguments.window,
        ext=arguments.ext,
        background=arguments.background,
    )
    claims = claim(arguments)
    items = find_items(arguments.source, account=account)
    claims.protect(item.path for item in items if item.path)
    outputs = outputs_of(items, how.ext)
    keep_inside(arguments.out, outputs)
    refuse_own(arguments, outputs)
    if world.rank == 0:
        for sentence in account.sentences():
            print(f"note: {sentence}", file=sys.stderr)
    share = dict(list(outputs.items())[world.rank :: world.size])
    device = choose_device(arguments.device, world.device)
    translator = open_translator(arguments.checkpoint, device, direction=arguments.direction)
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise cannot_write(arguments.out, fault) from fault
    with progress(len(share), world) as bar:
        job = Job(
            translator,
            arguments.out,
            how,
            batch_size=arguments.batch_size,
            threads=arguments.threads,
            on_done=bar.update,
        )
        job.manifest.refuse_strangers(share)
        todo = share if arguments.overwrite else job.remaining(share)
        bar.update(len(share) - len(todo))
        start = time.perf_counter()
        outcome = job.run(todo)
    say(outcome, time.perf_counter() - start, arguments.out, world)
    if arguments.sheet and world.rank == 0:
        draw_sheet(share, arguments)
    return 3 if outcome.faults else 0


def progress(total: int, world):
    """A bar for the share of the first process, when somebody can see it."""
    from tqdm import tqdm

    whose = "translating" if world.size == 1 else f"translating (1 of {world.size} processes)"
    hidden = None if world.rank == 0 else True
    return tqdm(total=total, unit="img", desc=whose, disable=hidden)


def say(outcome, seconds: float, out: Path, world) -> None:
    for sentence in outcome.warnings:
        print(f"warning: {sentence}", file=sys.stderr)
    for sentence in outcome.faults:
        print(f"bad: {sentence}", file=sys.stderr)
    who = "" if world.size == 1 else f"process {world.rank}: "
    rate = f", {len(outcome.written) / seconds:.2f} images/s" if outcome.written else ""
    print(
        f"{who}{out}: {len(outcome.written)} translated, {outcome.skipped} were there already, "
        f"{len(outcome.faults)} bad{rate}"
    )


def draw_sheet(share: dict, arguments: argparse.Namespace) -> None:
    from largegan.viz.contact import contact_sheet
    from largegan.viz.pictures import write_picture

    inputs = {name: item.read for name, item in share.items()}
    picture = contact_sheet(
        inputs, arguments.out, count=arguments.sheet_count, window=arguments.window
    )
    if picture is not None:
        write_picture(arguments.sheet, picture)
        print(f"{arguments.sheet}: {picture.shape[2]}x{picture.shape[1]} pixels")


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
