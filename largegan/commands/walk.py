"""A walk through a generator's latents, as a video (OUT ends in .gif, or in .mp4).

  largegan walk runs/stylegan2 walk.gif                  past seeds 0, 1, 2, 3, back to 0
  largegan walk runs/stylegan2 walk.mp4 --seeds 3,8,5 --frames 48 --truncation 0.7
  largegan walk runs/stylegan2 walk.gif --grid 3x4       twelve walkers side by side
  largegan walk runs/stylegan3 turn.gif --seeds 5,5 --turns 1     one picture, turning

RUN is a run directory or one RUN/checkpoints/NNNNNNNNN. The video ends where it began, so that it
can play for ever; it turns smoothly at every seed (a cubic spline). StyleGAN walks in w, where
steps of one size look alike; other recipes walk in z, at the length that normal latents have.
Each walker keeps the class of its first seed. Where the generator's input can be moved (StyleGAN3),
--turns and --shift move the camera besides: the input is moved, not the finished picture.
MP4 needs ffmpeg (pip install imageio-ffmpeg).
Exit codes: 2 arguments, 3 the checkpoint is damaged, 4 the machine or its disk.
"""

import argparse

from largegan.api.device import choose_device
from largegan.cli import (
    add_options,
    check_seed,
    exit_code,
    new_parser,
    read_grid,
    read_seeds,
    what_to_draw,
    with_progress,
)
from largegan.files.words import Number, to_path, to_text


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = new_parser("walk", __doc__)
    add_options(parser, "checkpoint")
    parser.add_argument("out", type=to_path, help="NAME.gif or NAME.mp4")
    add = parser.add_argument
    add(
        "--seeds",
        type=to_text,
        default="0-3",
        help="where the walk turns, such as 0-3,42 (default: 0-3)",
    )
    add("--grid", type=to_text, metavar="RxC", default="1x1",
        help="several walkers; the next ones take the seeds that follow")  # fmt: skip
    add("--frames", type=Number("Frames"), default=24,
        help="pictures from one seed to the next (default: 24)")  # fmt: skip
    add("--fps", type=Number("FramesPerSecond"), default=24,
        help="pictures per second (default: 24)")  # fmt: skip
    add("--turns", type=Number("Turns"), default=0, metavar="N", help="the picture turns so often, "
        "counterclockwise; below 0 clockwise (default: 0)")  # fmt: skip
    add("--shift", type=Number("Radius"), default=0.0, metavar="R",
        help="the picture goes around a circle of this radius, as a part of its shorter side "
        "(default: 0)")  # fmt: skip
    add_options(
        parser, "--classes", "--truncation", "--toward", "--batch", "--device", "--overwrite"
    )
    return parser.parse_args(argv)


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError."""
    from largegan.checkpoint import parts_of_run
    from largegan.errors import ConfigError
    from largegan.files.claims import Outputs
    from largegan.viz.video import check_video, write_video

    check_video(arguments.out)
    Outputs(parts_of_run(arguments.checkpoint), overwrite=arguments.overwrite).file(arguments.out)
    seeds, grid = read_seeds(arguments.seeds), read_grid(arguments.grid)
    if arguments.toward == "class" and arguments.truncation is None:
        raise ConfigError("--toward class needs a --truncation, such as 0.7")
    if len(seeds) < 2:
        raise ConfigError(f"--seeds {arguments.seeds} is one place; a walk needs two or more")
    check_seed(max(seeds) + (grid[0] * grid[1] - 1) * span(seeds), "the last seed of --grid")
    from largegan.sampler import check_movable, has_images, open_sampler

    device, what = choose_device(arguments.device), what_to_draw(arguments)
    sampler = open_sampler(arguments.checkpoint, device, **what)
    if not has_images(sampler.recipe):
        raise ConfigError("this recipe draws numbers, not images; `largegan sample` shows them")
    if arguments.turns or arguments.shift:
        check_movable(sampler.recipe)
    pictures = frames(sampler, seeds, grid, arguments)
    write_video(arguments.out, pictures, fps=arguments.fps)
    size = f"{pictures[0].shape[2]}x{pictures[0].shape[1]}"
    seconds = len(pictures) / arguments.fps
    print(f"{arguments.out}: {len(pictures)} pictures of {size} pixels, {seconds:.1f} s")


def span(seeds: list[int]) -> int:
    """From one walker's seeds to the next one's."""
    return max(seeds) - min(seeds) + 1


def frames(sampler, seeds: list[int], grid: tuple[int, int], arguments: argparse.Namespace) -> list:
    """uint8 `[C, H', W']` each."""
    import torch

    from largegan.viz.layout import sheet
    from largegan.viz.paths import camera, path_images

    transforms = None
    if arguments.turns or arguments.shift:
        count = len(seeds) * arguments.frames
        transforms = camera(count, turns=arguments.turns, radius=arguments.shift)
    rows, columns = grid
    walkers = [[s + i * span(seeds) for s in seeds] for i in range(rows * columns)]
    images = torch.stack(
        [
            path_images(
                sampler, walker, arguments.frames, batch=arguments.batch, transforms=transforms
            )
            for walker in with_progress(walkers, len(walkers))
        ],
        dim=1,
    )  # [frames, walkers, C, H, W]
    return [sheet(picture.unflatten(0, grid)) for picture in images]


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    return exit_code(lambda: run(arguments))
