"""Pack images into WebDataset shards in random order, with an index.

SOURCE is a folder, a .zip of one, an .npz, LMDB (LSUN), HDF5, parquet (Hugging Face), the batches
of CIFAR-10 or CIFAR-100, the idx files of MNIST, a CSV of paths and classes, or WebDataset shards;
which one is found out by looking. The class of an image is the name of its first sub-folder; a
dataset.json ({"labels": [[name, number], ...]}) or labels.csv (name,label) in the folder goes
first. Arrays have images (or x, data) as uint8 NHWC or NCHW, and labels (or y).

For image translation, give a folder or zip with CycleGAN's trainA and trainB, or pack each domain
into the same OUT, with --domain a and --domain b. Or pack pairs: with --paired SOURCE holds images
of the same names in its sub-folders a and b (or A and B, trainA and trainB), with --side-by-side
both lie in one picture.

Arrays in .npy files, one image each, are images where there are no others; --window says which
numbers are black and white, --depth 16 keeps more than 8 bits of them.

For training on latents of an encoder, --latents SCALE: SOURCE is a folder of .npy files [C, h, w],
or an npz with latents [N, C, h, w] (and labels). They are kept in 16 bits; training sees them
times SCALE (0.18215 for those of Stable Diffusion's first auto-encoder).
"""

import argparse
import sys
from pathlib import Path

from largegan.cli import color, exit_code, new_parser, read_window, with_progress
from largegan.files.words import Number, to_name, to_names, to_path, to_source


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("pack", __doc__)
    parser.add_argument("source", type=to_path, help="images in any of these formats")
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
        help="3 (default), 1 for gray, 4 to keep alpha",
    )
    add("--background", type=color, default=(255, 255, 255), metavar="R,G,B",
        help="color behind transparent pixels and padding (default: white)")  # fmt: skip
    add("--format", choices=("jpg", "png"), help="jpg (default) or png (default with --channels 4)")
    add("--window", type=read_window, metavar="LO,HI", help="stored values that become black and "
        "white, for images of more than 8 bits (default: all their type can hold)")  # fmt: skip
    add(
        "--depth",
        type=int,
        choices=(8, 16),
        default=8,
        help="bits that are stored: 8 (default), or 16 as PNG",
    )
    add("--quality", type=Number("Quality"), default=95, help="JPEG quality (default: 95)")
    add("--domain", choices=["a", "b"], help="write to OUT/a or OUT/b: one of two domains")
    add("--paired", action="store_true", help="pack SOURCE/a and SOURCE/b as pairs")
    add("--side-by-side", choices=("left", "right"), help="pack pairs that lie side by side in one "
        "picture; the half named is image a, the source")  # fmt: skip
    add("--channels-b", type=int, choices=(1, 3, 4),
        help="channels of b in pairs (default: as --channels)")  # fmt: skip
    add("--latents", type=Number("LatentScale"), metavar="SCALE",
        help="pack latents, seen times SCALE")  # fmt: skip
    add("--labels", type=to_source, default="auto", help="auto (default), folder, file or none")
    add("--label-field", type=to_name, metavar="NAME", help="which label, where images have "
        "several: coarse_labels, a column, a key of .json")  # fmt: skip
    add("--split", choices=("train", "val", "test", "all"),
        help="of a set with such parts (default: train, where the format knows them)")  # fmt: skip
    add("--label-vectors", action="store_true",
        help="labels are numbers, or lists of as many for each image, and no classes")  # fmt: skip
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

    pairs = arguments.paired or arguments.side_by_side
    if arguments.paired and arguments.side_by_side:
        raise ConfigError("--paired is for two folders, --side-by-side for one; give one of them")
    if pairs and arguments.domain:
        raise ConfigError("--paired packs both domains at once; leave out --domain")
    if arguments.channels_b and not pairs:
        raise ConfigError("--channels-b is for --paired; each --domain has its own --channels")
    if arguments.latents is not None and (pairs or arguments.resolution):
        raise ConfigError("latents stay as they are and alone; leave out --paired and --resolution")
    if pairs and arguments.labels not in ("auto", "none"):
        raise ConfigError("pairs have no labels; leave out --labels")


def how(arguments: argparse.Namespace):
    """How images, or latents, are stored."""
    from largegan.data.latents import LatentPreparation
    from largegan.data.prepare import Preparation

    if arguments.latents is not None:
        return LatentPreparation(arguments.latents)
    lossless = arguments.channels == 4 or arguments.depth == 16
    return Preparation(
        size=arguments.resolution,
        fit=arguments.fit,
        filter=arguments.filter,
        channels=arguments.channels,
        background=arguments.background,
        format=arguments.format or ("png" if lossless else "jpg"),
        quality=arguments.quality,
        window=arguments.window,
        depth=arguments.depth,
    )


def request(arguments: argparse.Namespace):
    """What is taken of the source."""
    from largegan.data.originals import Request

    return Request(
        labels=arguments.labels,
        split=arguments.split,
        field=arguments.label_field,
        class_names=tuple(arguments.class_names or ()),
        compact_labels=arguments.compact_labels,
        side_by_side=arguments.side_by_side,
        vectors=arguments.label_vectors,
        inside=arguments.inside,
        lone=arguments.on_error == "skip",
    )


def run(arguments: argparse.Namespace) -> None:
    from largegan.data.formats.pairs import trained_domains
    from largegan.files.claims import Outputs, claim_new_folder
    from largegan.files.output import new_folder

    check(arguments)
    out = arguments.out / arguments.domain if arguments.domain else arguments.out
    Outputs([arguments.source]).folder(out, apart=True)
    plain = not (arguments.domain or arguments.paired or arguments.side_by_side)
    domains = trained_domains(arguments.source, arguments.split) if plain else None
    arguments.inside = ""
    if domains is None:
        pack_one(arguments, arguments.source, out, shown_as=out)
        return
    claim_new_folder(arguments.out)
    arguments.split, arguments.labels = None, "none"
    with new_folder(arguments.out) as partial:
        for domain, name in zip(domains, "ab", strict=True):
            arguments.inside = domain.inside
            pack_one(arguments, domain.source, partial / name, shown_as=arguments.out / name)


def pack_one(arguments: argparse.Namespace, source: Path, out: Path, *, shown_as: Path) -> None:
    """Packs one set, and gives the account of it."""
    from largegan.data.pack import pack
    from largegan.data.writing import Layout

    pairs = arguments.paired or arguments.side_by_side
    layout = Layout(
        seed=arguments.seed,
        shard_bytes=int(arguments.shard_size * 1e6),
        shard_count=arguments.shard_count,
        name=arguments.name,
        on_error=arguments.on_error,
        threads=arguments.threads,
    )
    packed = pack(
        source,
        out,
        preparation=how(arguments),
        request=request(arguments),
        layout=layout,
        channels_b=(arguments.channels_b or arguments.channels) if pairs else None,
        progress=lambda items, total: with_progress(items, total, what="packing"),
    )
    for sentence in packed.skipped:
        print(f"skipped: {sentence}", file=sys.stderr)
    for sentence in (*packed.account.sentences(), *packed.notes):
        print(f"note: {sentence}", file=sys.stderr)
    index = packed.index
    kinds = "classes" if index.conditions is None else "labels that are vectors"
    what = "pairs" if index.channels_b else "latents" if index.latent_scale else "images"
    print(
        f"{shown_as}: {sum(s.count for s in index.shards)} {what} of {index.height}x"
        f"{index.width}x{index.channels}, {index.num_classes or 'no'} {kinds}, "
        f"{len(index.shards)} shard(s), {sum(s.bytes for s in index.shards) / 1e6:.1f} MB, "
        f"{len(packed.skipped)} skipped, {packed.account.count} left out"
    )


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
