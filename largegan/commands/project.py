"""Find the w that draws a picture, in a generator with styles (StyleGAN).

  largegan project runs/stylegan2 face.png found
  largegan project runs/stylegan2 face.png found --features resnet50 --weights ~/weights --extended
  largegan project runs/stylegan2 face.png found --features pixels

OUT gets projected.png, comparison.png (the picture, the search, the result), progress.gif and
w.safetensors (`ws` [1, layers, w]). Closeness is judged by a feature network of timm, whose weights
are a local file (`largegan weights list` says where it may lie); `--features pixels` needs none and
is blurry. The picture is cropped in the middle to the generator's shape and resized.
Exit codes: 2 arguments, 3 picture or checkpoint damaged, 4 weights missing, machine, disk.
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
from largegan.files.words import Number, to_name, to_path, to_source

SHOWN = 6  # pictures of the search in comparison.png


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("project", __doc__)
    add_options(parser, "checkpoint")
    parser.add_argument("picture", type=to_path, help="an image file")
    parser.add_argument("out", type=to_path, help="a folder")
    add = parser.add_argument
    add("--features", type=to_name, default="efficientnet_lite0", metavar="NAME",
        help="a timm model, or pixels (default: efficientnet_lite0)")  # fmt: skip
    add("--steps", type=Number("Searched"), default=500, help="of the search (default: 500)")
    add("--lr", type=Number("LearningRate"), default=0.1, help="learning rate (default: 0.1)")
    add("--extended", action="store_true", help="one w per layer: closer, less natural")
    add("--class", type=to_source, dest="label", help="number or name of the class to stay in")
    add("--seed", type=Number("Seed"), default=0, help="of the search's noise (default: 0)")
    add_options(parser, "--weights-dir", "--device", "--overwrite")
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    import torch

    from largegan.api.inversion import distance_from
    from largegan.checkpoint import parts_of_run
    from largegan.errors import ConfigError
    from largegan.files.claims import Outputs
    from largegan.sampler import open_sampler, require_styles
    from largegan.viz.inversion import invert

    names = ("projected.png", "comparison.png", "progress.gif", "w.safetensors")
    claims = Outputs(
        [*parts_of_run(arguments.checkpoint), arguments.picture], overwrite=arguments.overwrite
    )
    claims.folder(arguments.out)
    Outputs(parts_of_run(arguments.checkpoint)).folder(arguments.out, apart=True)
    claims.inside(arguments.out, names)
    device = choose_device(arguments.device)
    sampler = open_sampler(arguments.checkpoint, device, classes=arguments.label)
    require_styles(sampler.recipe, " to search")
    if len(sampler.classes) > 1:
        raise ConfigError("this checkpoint has classes; say which one with --class")
    spec = sampler.spec
    target = read_picture(arguments.picture, spec).to(device)
    sampler.recipe.requires_grad_(False)
    search = invert(
        sampler.recipe,
        distance_from(target, arguments.features, arguments.weights_dir),
        label=sampler.classes[0] if sampler.classes else None,
        steps=arguments.steps,
        lr=arguments.lr,
        extended=arguments.extended,
        device=device,
        seed=arguments.seed,
    )
    torch.manual_seed(arguments.seed)
    steps = list(kept(with_progress(search, arguments.steps + 1), arguments.steps))
    write(arguments.out, target, steps)
    print(f"{arguments.out}: distance {steps[0].distance:.4g} -> {steps[-1].distance:.4g}")


def kept(search, steps: int, most: int = 60):
    """At most so many of the search's steps, and always the last."""
    every = max(1, steps // most)
    for step in search:
        if step.number % every == 0 or step.number == steps:
            yield step


def read_picture(path: Path, spec):
    """float32 `[1, C, H, W]` in [-1, 1], cropped in the middle to the shape of `spec`."""
    import torch

    from largegan.data.prepare import Preparation
    from largegan.errors import ConfigError, DataError
    from largegan.files.archives import LARGEST_MEMBER
    from largegan.files.documents import read_bounded
    from largegan.files.photos import BadImage
    from largegan.files.reading import reading

    how = Preparation((spec.height, spec.width), channels=spec.channels, format="png")
    try:
        with reading(str(path)):
            pixels = how.pixels(read_bounded(path, LARGEST_MEMBER, "choose another"))
    except FileNotFoundError:
        raise ConfigError(f"there is no picture {path}") from None
    except BadImage as fault:
        raise DataError(f"{path} cannot be read as an image: it {fault}; choose another") from fault
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1


def write(out: Path, target, steps: list) -> None:
    import torch
    from safetensors.torch import save_file

    from largegan.files.output import MARK, writing
    from largegan.sampler import to_uint8
    from largegan.viz.pictures import grid, write_picture
    from largegan.viz.video import write_video

    write_picture(out / "projected.png", to_uint8(steps[-1].image)[0].cpu())
    picks = [steps[round(i * (len(steps) - 1) / (SHOWN - 1))] for i in range(SHOWN)]
    row = torch.cat([target.cpu(), *(step.image.cpu() for step in picks)])
    write_picture(out / "comparison.png", grid(row, columns=len(row)))
    pairs = [torch.cat([target.cpu(), step.image.cpu()]) for step in steps]
    write_video(out / "progress.gif", [grid(pair, columns=2) for pair in pairs], fps=10)
    with writing(out / "w.safetensors") as partial:
        save_file({"ws": steps[-1].ws.cpu().contiguous()}, partial, {"made_by": MARK})


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
