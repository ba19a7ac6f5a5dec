"""Write the averaged networks of a run as a folder to share, with a model card.

  largegan publish runs/faces faces                          weights, configuration, card, picture
  largegan publish runs/faces faces --forms onnx,pt2         and the graphs beside them
  largegan publish runs/faces faces --name me/faces --license cc-by-4.0 --scores fid.json
  largegan publish runs/zebras zebras --images photos        before and after on the picture

OUT gets model.safetensors, config.json, README.md (the card: recipe and paper, data, settings,
scores with their protocol, limits, code; what only you know says FILL IN) and picture.png.
`largegan.load("OUT")` opens it, and so does every command that takes a run. Nothing connects to
anything: to share it, upload the folder, for instance with `huggingface-cli upload NAME OUT`.
What was written is loaded again and compared; if it differs, nothing is left.

Exit codes: 2 arguments, or a form that this network cannot have; 3 the checkpoint is damaged; 4 the
machine, its disk or a missing package.
"""

import argparse
import io
import json
from pathlib import Path
from typing import Any

from largegan.cli import add_options, exit_code, new_parser, some_of
from largegan.files.words import to_name, to_path

FORMS = ("onnx", "pt2")
SHOWN = 32  # images on the picture of a generator
PAIRS = 8  # on that of a translator


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("publish", __doc__)
    add_options(parser, "checkpoint")
    parser.add_argument("out", type=to_path, help="new folder")
    add = parser.add_argument
    add("--forms", type=some_of(FORMS), default=(), metavar="A,B", help="onnx, pt2 (default: none)")
    add("--name", type=to_name, help="what it will be called on a hub, OWNER/NAME")
    add("--license", type=to_name, help="of the model, such as apache-2.0 or cc-by-4.0")
    add("--dataset", type=to_name, help="what it was trained on, by its name on a hub")
    add("--scores", type=to_path, action="append", default=[], metavar="FILE",
        help="what `largegan fid --json` wrote; may be given several times")  # fmt: skip
    add("--images", type=to_path, metavar="FOLDER", help="images that a translation is shown on")
    add_options(parser, "--overwrite")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    from largegan.interop.publish import PublishOptions, claim, publish
    from largegan.restore import restore

    claim(arguments.checkpoint, arguments.out, overwrite=arguments.overwrite)
    scores = tuple(read_scores(path) for path in arguments.scores)
    found = restore(arguments.checkpoint)
    picture = picture_of(found, arguments.images)
    options = PublishOptions(
        arguments.forms, arguments.name, arguments.license, arguments.dataset, scores
    )
    written = publish(found, arguments.out, picture, options)
    for name, difference in written.items():
        print(f"{arguments.out / name}: within {difference:.1g} of the original")
    print(f"{arguments.out / 'README.md'}: fill in what it cannot know, and read it once")


def read_scores(path: Path) -> dict[str, Any]:
    """What `largegan fid --json` wrote. Raises ConfigError, DataError."""
    from largegan.errors import ConfigError, DataError
    from largegan.files.documents import LARGEST, read_bounded

    try:
        answer = json.loads(read_bounded(path, LARGEST, "measure again"))
        protocol = answer["protocol"]
        parts = (answer["scores"], protocol["reference"], protocol["generated"])
        whole = all(isinstance(part, dict) for part in parts)
        whole = whole and {"name", "sha256"} <= set(protocol["backbone"])
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as fault:
        raise DataError(f"{path} is not what `largegan fid --json` writes ({fault})") from fault
    if not whole:
        raise DataError(f"{path} is not what `largegan fid --json` writes; measure again")
    return answer


def picture_of(found, images: Path | None) -> bytes | None:
    """A PNG of what the model makes, none of it picked; None for a translator without images."""
    from largegan.errors import ConfigError
    from largegan.sampler import sampler_of, seeded
    from largegan.viz.layout import fill, sheet

    if found.recipe.directions:
        return None if images is None else png(before_and_after(found, images))
    if images is not None:
        raise ConfigError(f"--images is for translations; recipe {found.name} draws its own")
    own = found.recipe.picture(seeded(0))
    if own is not None:
        return png(own)
    drawn = sampler_of(found, "cpu").by_seed(range(SHOWN), batch=8)
    return png(sheet(fill((image for _, image in drawn), rows=4, columns=SHOWN // 4)))


def before_and_after(found, images: Path):
    """uint8 `[C, H, W]`: some images, and each translated in the first direction below it."""
    import torch
    from torch.nn.functional import interpolate

    from largegan.api.pictures import take
    from largegan.restore.exported import channels_of
    from largegan.sampler import to_uint8
    from largegan.translation.sources import find_items
    from largegan.viz.inversion import rgb
    from largegan.viz.layout import sheet

    net = found.recipe.translator(found.recipe.directions[0])
    paths = [item.path for item in find_items(str(images)) if item.path][:PAIRS]
    given = take(paths, channels_of(net))
    size = given.images[0].shape[1:]
    with torch.no_grad():
        pairs = [(image[None], net(image[None])) for image in given.images]
    columns = [
        torch.cat([interpolate(rgb(x), size=size, mode="bilinear", antialias=True) for x in pair])
        for pair in pairs
    ]
    return sheet(torch.stack([to_uint8(c) for c in columns], 1))


def png(picture) -> bytes:
    from largegan.viz.pictures import as_image, saved_as

    image, file = as_image(picture), io.BytesIO()
    image.save(file, **saved_as(".png", image.size))
    return file.getvalue()


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
