"""Pack images into WebDataset shards in random order, with an index.

SOURCE is a folder, a .zip of one, or an .npz. The class of an image is the name of its first
sub-folder; a dataset.json ({"labels": [[name, number], ...]}) or labels.csv (name,label) in the
folder goes first. An npz has images (or x, arr_0) as uint8 NHWC or NCHW, and labels (or y).

For image translation, either pack each domain into the same OUT, with --domain a and --domain b,
or pack pairs with --paired: SOURCE then holds images of the same names in its sub-folders a and b.

For training on latents of an encoder, --latents SCALE: SOURCE is a folder of .npy files [C, h, w],
or an npz with latents [N, C, h, w] (and labels). They are kept in 16 bits; training sees them
times SCALE (0.18215 for those of Stable Diffusion's first auto-encoder).
"""

import argparse
import sys

from largegan.cli import color, exit_code, new_parser, read_window, with_progress
from largegan.files.words import Number, to_names, to_path, to_source


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("pack", __doc__)
    parser.add_argument("source", type=to_path, help="folder, .zip or .npz")
    parser.add_argument("out", type=to_path, help="new folder for the shards and index.json")
    add = parser.add_argument
    add("--resolution", type=size, metavar="R|HxW", help="size in pixels (default: keep theirs)")
    add(
        "--fit",
        choices=("center-crop", "stretch", "pad"),
        default="center-crop",
        help="center-crop (default), stretch or pad",
    )
    add("--filter", choices=("lanczos", "bicubic", "bilinear", "box"), default="lanczos",
        help="lanczos (default), bicubic, bilinear or box (area)")  # fmt: skip
    add(
        "--channels",
        type=int,
        choices=(1, 3, 4),
        default=3,
        help="3 (default), 1 for grey, 4 to keep alpha",
    )
    add("--background", type=color, default=(255, 255, 255), metavar="R,G,B",
        help="color behind transparent pixels and padding (default: white)")  # fmt: skip
    add("--format", choices=("jpg", "png"), help="jpg (default) or png (default with --channels 4)")
    add("--window", type=read_window, metavar="LO,HI", help="stored values that become black and "
        "white, for images of more than 8 bits (default: all their type can hold)")  # fmt: skip
    add("--quality", type=Number("Quality"), default=95, help="JPEG quality (default: 95)")
    add("--domain", choices=["a", "b"], help="write to OUT/a or OUT/b: one of two domains")
    add("--paired", action="store_true", help="pack SOURCE/a and SOURCE/b as pairs")
    add("--channels-b", type=int, choices=(1, 3, 4),
        help="channels of b in pairs (default: as --channels)")  # fmt: skip
    add("--latents", type=Number("LatentScale"), metavar="SCALE",
        help="pack latents, seen times SCALE")  # fmt: skip
    add("--labels", type=to_source, default="auto", help="auto (default), folder, file or none")
    add("--class-names", type=to_names, help="A,B,C in the order of labels")
    add("--compact-labels", action="store_true", help="renumber so that no class is empty")
    add("--seed", type=Number("Seed"), default=0, help="of the random order (default: 0)")
    add("--shard-size", type=Number("Megabytes"), default=256, metavar="MB",
        help="per shard (default: 256)")  # fmt: skip
    add("--shard-count", type=Number("Shards"), help="number of shards, instead of their size")
    add("--name", default="shard", help="shards are called NAME-000000.tar (default: shard)")
    add("--on-error", choices=("raise", "skip"), default="raise",
        help="raise (default) or skip an image that is bad")  # fmt: skip
    add("--threads", type=Number("Threads"), default=2, help="images encoded at once (default: 2)")
    return parser.parse_args(argv)


def size(text: str) -> tuple[int, int]:
    """ "64" or "48x64" (height x width)."""
    numbers = [Number("Side")(part) for part in text.lower().split("x")[:3]]
    if len(numbers) > 2:
        raise argparse.ArgumentTypeError(f"is {text!r}, no size such as 64 or 48x64")
    return numbers[0], numbers[-1]


def check(arguments: argparse.Namespace) -> None:
    """Raises `ConfigError` for options that do not go together."""
    from largegan.errors import ConfigError

    if arguments.paired and arguments.domain:
        raise ConfigError("--paired packs both domains at once; leave out --domain")
    if arguments.channels_b and not arguments.paired:
        raise ConfigError("--channels-b is for --paired; each --domain has its own --channels")
    if arguments.latents is not None and (arguments.paired or arguments.resolution):
        raise ConfigError("latents stay as they are and alone; leave out --paired and --resolution")
    if arguments.paired and arguments.labels not in ("auto", "none"):
        raise ConfigError("pairs have no labels; leave out --labels")


def how(arguments: argparse.Namespace):
    """How images, or latents, are stored."""
    from largegan.data.latents import LatentPreparation
    from largegan.data.prepare import Preparation

    if arguments.latents is not None:
        return LatentPreparation(arguments.latents)
    return Preparation(
        size=arguments.resolution,
        fit=arguments.fit,
        filter=arguments.filter,
        channels=arguments.channels,
        background=arguments.background,
        format=arguments.format or ("png" if arguments.channels == 4 else "jpg"),
        quality=arguments.quality,
        window=arguments.window,
    )


def run(arguments: argparse.Namespace) -> None:
    from largegan.data.pack import pack
    from largegan.files.output import Outputs

    check(arguments)
    out = arguments.out / arguments.domain if arguments.domain else arguments.out
    preparation = how(arguments)
    Outputs([arguments.source]).folder(out, apart=True)
    packed = pack(
        arguments.source,
        out,
        preparation=preparation,
        seed=arguments.seed,
        shard_bytes=int(arguments.shard_size * 1e6),
        shard_count=arguments.shard_count,
        labels=arguments.labels,
        class_names=arguments.class_names,
        compact_labels=arguments.compact_labels,
        name=arguments.name,
        on_error=arguments.on_error,
        threads=arguments.threads,
        channels_b=(arguments.channels_b or arguments.channels) if arguments.paired else None,
        progress=lambda items, total: with_progress(items, total, what="packing"),
    )
    for sentence in packed.skipped:
        print(f"skipped: {sentence}", file=sys.stderr)
    for sentence in (*packed.account.sentences(), *packed.notes):
        print(f"note: {sentence}", file=sys.stderr)
    index = packed.index
    what = "pairs" if index.channels_b else "latents" if index.latent_scale else "images"
    print(
        f"{out}: {sum(s.count for s in index.shards)} {what} of {index.height}x"
        f"{index.width}x{index.channels}, {index.num_classes or 'no'} classes, "
        f"{len(index.shards)} shard(s), {sum(s.bytes for s in index.shards) / 1e6:.1f} MB, "
        f"{len(packed.skipped)} skipped, {packed.account.count} left out"
    )


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
