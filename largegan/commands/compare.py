"""Score translations against the truth, image by image: PSNR, SSIM, L1, feature distance.

  largegan compare zebras truth
  largegan compare zebras truth --inputs horses       also: how good is copying the input
  largegan compare zebras truth --features resnet50   also: distance in a timm network's features
  largegan compare zebras truth --inputs horses --sheet look.png   all three, side by side
  largegan compare large truth --scale 4 --inputs small   super-resolution, beside bicubic

OUTPUTS and TRUTHS are folders, .zip files, .txt lists or shards; pairs have the same name, whatever
the format. L1 is a fraction of the range; SSIM is that of Wang et al. (2004), mean over channels;
each score is a mean over images with its standard error. With --scale, PSNR and SSIM are of the
luma (Y of BT.601) without the outermost SCALE pixels, as super-resolution reports them, and inputs
are enlarged by bicubic interpolation (MATLAB's imresize) and rounded. For sets without pairs, use
largegan fid.
Exit codes: 2 arguments, 3 an image is missing, bad or of another size, 4 weights are missing.
"""

import argparse
import math
import sys
from pathlib import PurePosixPath

from largegan.cli import add_options, exit_code, new_parser, read_window
from largegan.errors import shown
from largegan.files.words import Number, to_name, to_path, to_source

UNITS = {"psnr": "dB", "ssim": "", "l1": "", "features": ""}


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("compare", __doc__)
    parser.add_argument("outputs", type=to_source, help="translations")
    parser.add_argument("truths", type=to_source, help="what they should be")
    add = parser.add_argument
    add(
        "--inputs", type=to_source, help="what was translated; scored as if it were the translation"
    )
    add("--scale", type=Number("Scale"),
        help="how many times larger the outputs are than the inputs")  # fmt: skip
    add("--features", type=to_name, metavar="NAME",
        help="inception or a timm network, with local weights")  # fmt: skip
    add("--sheet", type=to_path, metavar="FILE", help="some of them side by side, .png or .jpg")
    add("--sheet-count", type=Number("Shown"), default=24,
        help="rows of that picture (default: 24)")  # fmt: skip
    add("--window", type=read_window, metavar="LO,HI",
        help="stored values that mean black and white (default: all of their type)")  # fmt: skip
    add_options(parser, "--weights-dir", "--json", "--overwrite")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    from largegan.errors import ConfigError
    from largegan.files.claims import Outputs
    from largegan.files.output import MARK, as_json, write_text
    from largegan.viz.pictures import PICTURES

    if arguments.sheet and arguments.sheet.suffix.lower() not in PICTURES:
        raise ConfigError(f"--sheet {arguments.sheet} must end in {', '.join(PICTURES)}")

    reads = (arguments.outputs, arguments.truths, arguments.inputs)
    claims = Outputs(reads, overwrite=arguments.overwrite)
    for what in ("sheet", "json"):
        if path := getattr(arguments, what):
            claims.file(path, f"--{what}", again=True)
    features = None
    if arguments.features:
        from largegan.metrics.features import open_extractor

        features = open_extractor(arguments.features, folder=arguments.weights_dir)
    scale = arguments.scale
    how = {"scale": scale, "window": arguments.window, "features": features}
    sets = {source: by_stem(source) for source in reads if source}
    for items in sets.values():
        claims.protect(item.path for item in items.values() if item.path)
    found = {"outputs": score(sets, (arguments.outputs, arguments.truths), **how)}
    if arguments.inputs:
        both = (arguments.inputs, arguments.truths)
        found["bicubic" if scale else "inputs"] = score(sets, both, **how, enlarge=scale or 1)
    for who, (scores, _) in found.items():
        count = next(iter(scores.values())).count
        words = [f"{n} {said(s)} {UNITS[n]}".strip() for n, s in scores.items()]
        print(f"{who:8s} {count} pairs: {', '.join(words)}")
    if arguments.sheet:
        draw_sheet(arguments)
    if arguments.json:
        facts = {
            who: {"mean": {n: vars(s) for n, s in scores.items()}, "images": images}
            for who, (scores, images) in found.items()
        }
        facts |= {"features": arguments.features, "scale": scale}
        write_text(arguments.json, as_json({"made_by": MARK, **facts}))


def said(found) -> str:
    """A mean with its error; the decibels of equal images have none."""
    error = f" +- {found.error:.4f}" if math.isfinite(found.error) else ""
    return f"{found.mean:.4f}{error}"


def score(
    sets: dict[str, dict],
    both: tuple[str, str],
    *,
    features,
    scale: int | None,
    window: tuple[float, float] | None,
    enlarge: int = 1,
) -> tuple[dict, dict[str, dict[str, float]]]:
    """The mean scores, and those of every image by its name; outputs are enlarged before."""
    from tqdm import tqdm

    from largegan.errors import DataError
    from largegan.metrics.translation import PairedScores

    ours, theirs = (sets[source] for source in both)
    missing = sorted(ours.keys() ^ theirs.keys())
    if missing:
        where = both[1] if missing[0] in ours else both[0]
        raise DataError(
            f"{where} has no {shown(missing[0])} ({len(missing)} image(s) without partner); "
            "compare sets with the same names"
        )
    scores, images = PairedScores(features, scale=scale), {}
    for name in tqdm(sorted(ours), unit="img", desc="comparing", disable=None, delay=1):
        try:
            pair = load(ours[name], window), load(theirs[name], window)
            one = scores.add(enlarged(pair[0], enlarge), pair[1])
        except DataError as fault:
            raise DataError(f"{shown(name)}: {fault}") from fault
        images[name] = {n: float(v[0]) for n, v in one.items()}
    return scores.result(), images


def enlarged(image, times: int):
    """`[1, 3, H, W]` in [-1, 1], `times` as large, and of 8 bits again."""
    if times == 1:
        return image
    from largegan.layers.resize import imresize

    large = imresize(image, (image.shape[-2] * times, image.shape[-1] * times)).clamp(-1, 1)
    return ((large + 1) * 127.5).round() / 127.5 - 1


def draw_sheet(arguments: argparse.Namespace) -> None:
    """Input (where it is given), translation and truth, side by side."""
    from largegan.viz.contact import side_by_side
    from largegan.viz.pictures import write_picture

    sources = {"input": arguments.inputs, "translation": arguments.outputs}
    sources["truth"] = arguments.truths
    found = {title: by_stem(source) for title, source in sources.items() if source}
    columns = {title: (lambda name, f=items: f[name].read()) for title, items in found.items()}
    picture = side_by_side(
        sorted(found["truth"]), columns, count=arguments.sheet_count, window=arguments.window
    )
    write_picture(arguments.sheet, picture)
    print(f"{arguments.sheet}: {picture.shape[2]}x{picture.shape[1]} pixels")


def by_stem(source: str) -> dict:
    """Images by name without ending; two of one name are refused, as only one could be compared."""
    from largegan.data.account import Account
    from largegan.errors import DataError
    from largegan.translation.sources import find_items

    found, account = {}, Account()
    for item in find_items(source, account=account):
        stem = PurePosixPath(item.name).with_suffix("").as_posix()
        if stem in found:
            raise DataError(
                f"{source} holds {shown(found[stem].name)} and {shown(item.name)}, which go with "
                "the same image; rename or remove one"
            )
        found[stem] = item
    for sentence in account.sentences():
        print(f"note: {source}: {sentence}", file=sys.stderr)
    return found


def load(item, window: tuple[float, float] | None):
    """float32 `[1, 3, H, W]` in [-1, 1], over white where it is transparent."""
    import torch

    from largegan.errors import DataError
    from largegan.files import photos
    from largegan.files.reading import reading

    try:
        with reading(item.name):
            photo = photos.read(item.read())
        pixels = photos.for_network(photo, 3, (255, 255, 255))
        unit = photos.scale_for(pixels.dtype, window).to_unit(pixels)
    except (photos.BadImage, OSError) as fault:
        raise DataError(f"{shown(item.name)} {fault}") from fault
    return torch.from_numpy(unit).permute(2, 0, 1)[None]


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
