#!/usr/bin/env python
"""FID after equal processor time: ours beside public code that trains on a CPU, on the same images.

    python benchmarks/quality.py train OUT --peer pytorch=FOLDER --peer mimicry=FOLDER
    python benchmarks/quality.py score OUT
    python benchmarks/quality.py table OUT --machine "NAME OF THE CPU"

Peers are folders of checkouts: github.com/pytorch/examples (its dcgan/main.py is run as it is) and
github.com/kwotsin/mimicry (its networks and its `Trainer`); nothing of them is copied. Each side
trains in a process of its own, with `--threads` threads, until it has used `--seconds` of processor
time, from the first line of its program on; drawing and scoring do not count. On the way it draws
`--count` images after a quarter, a half, three quarters and all of the time, each by its own code:
ours from averaged weights, the peers as their programs do. `--images` is what both learn from, as
PNG files; `score` compares with `--reference`, other images of the same kind, by `largegan fid`.
What is in OUT is not done again: more seeds and rows add up. `table` writes
results/quality-MACHINE.json, .md and .png.
"""

import argparse
import contextlib
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from equal_time import (
    POINTS,
    Ended,
    Turns,
    as_uint8,
    parser_of,
    run_sides,
    scored,
    slug,
    to_be_scored,
    train_ours,
)

RESULTS = Path(__file__).parent / "results"
BATCH = 64
TOLD = ("seconds", "threads", "count", "images", "reference")  # with the results
# Row: who trains it, and what of.
ROWS: dict[str, tuple[str, str]] = {
    "pytorch dcgan": ("pytorch", "dcgan"),
    "ours dcgan": ("ours", "dcgan"),
    "ours quickstart": ("ours", "quickstart"),
    "mimicry dcgan": ("mimicry", "dcgan"),
    "mimicry sngan": ("mimicry", "sngan"),
    "ours sngan": ("ours", "sngan"),
}


def save(images, folder: Path) -> None:
    """PNG files of uint8 `[N, H, W, C]`."""
    from PIL import Image

    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:05d}.png")


def ours(what: str, out: Path, arguments: argparse.Namespace) -> None:
    """Trains by the settings of a recipe, or of a configuration that comes with the package."""
    import torch

    words = ["--config", what] if what == "quickstart" else ["--recipe.name", what]
    settings = {"data.path": arguments.images, "train.seed": arguments.seed}
    settings |= {} if what == "quickstart" else {"train.batch_size": BATCH}

    def draw_by(recipe) -> Callable[[Path], None]:
        @torch.no_grad()
        def draw(folder: Path) -> None:
            z = recipe.latent(arguments.count, torch.Generator().manual_seed(1)).split(BATCH)
            save(as_uint8(torch.cat([recipe.decode(part) for part in z])), folder)

        return draw

    turns = Turns(arguments.seconds, out)
    train_ours(words, settings, turns, arguments.threads, draw_by)


def count_batches(turns: Turns) -> None:
    """From here on every DataLoader tells `turns` of a batch when the next one is asked for."""
    from torch.utils.data import DataLoader

    batches = DataLoader.__iter__

    def counted(loader):
        for batch in batches(loader):
            yield batch
            turns.after_batch(len(batch[0]))

    DataLoader.__iter__ = counted


def pytorch(what: str, out: Path, arguments: argparse.Namespace) -> None:
    """PyTorch's example: a script, run with its defaults (64 pixels)."""
    import torch

    script = arguments.folders["pytorch"] / what / "main.py"
    space: dict = {"__name__": "__main__"}

    @torch.no_grad()
    def draw(folder: Path) -> None:
        z = torch.randn(arguments.count, space["nz"], 1, 1).split(BATCH)
        save(as_uint8(torch.cat([space["netG"](part) for part in z])), folder)

    count_batches(Turns(arguments.seconds, out, draw))
    torch.set_num_threads(arguments.threads)
    sys.argv = [str(script), "--dataset", "folder", "--dataroot", arguments.images]
    sys.argv += ["--outf", str(out / "own"), "--niter", "1000000", "--workers", "0"]
    sys.argv += ["--batchSize", str(BATCH), "--manualSeed", str(arguments.seed)]
    with contextlib.suppress(Ended):
        exec(compile(script.read_text(), str(script), "exec"), space)


def mimicry(what: str, out: Path, arguments: argparse.Namespace) -> None:
    """Mimicry's networks for 32 pixels and its Trainer, as in its example."""
    import importlib

    import torch
    from torchvision import datasets, transforms

    # The package's own __init__ imports TensorFlow, for metrics that are not needed.
    package = ModuleType("torch_mimicry")
    package.__path__ = [str(arguments.folders["mimicry"] / "torch_mimicry")]
    sys.modules["torch_mimicry"] = package
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    nets = importlib.import_module(f"torch_mimicry.nets.{what}.{what}_32")
    training = importlib.import_module("torch_mimicry.training.trainer")
    name = {"dcgan": "DCGAN", "sngan": "SNGAN"}[what]
    netG, netD = getattr(nets, f"{name}Generator32")(), getattr(nets, f"{name}Discriminator32")()

    @torch.no_grad()
    def draw(folder: Path) -> None:
        parts = [netG.generate_images(BATCH) for _ in range(-(-arguments.count // BATCH))]
        save(as_uint8(torch.cat(parts)[: arguments.count]), folder)

    count_batches(Turns(arguments.seconds, out, draw))
    steps = [transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
    data = datasets.ImageFolder(arguments.images, transforms.Compose(steps))
    betas, rate = {"dcgan": ((0.5, 0.999), 2e-4), "sngan": ((0.0, 0.9), 2e-4)}[what]
    trainer = training.Trainer(
        netD=netD,
        netG=netG,
        optD=torch.optim.Adam(netD.parameters(), rate, betas=betas),
        optG=torch.optim.Adam(netG.parameters(), rate, betas=betas),
        n_dis=5 if what == "sngan" else 1,
        num_steps=10**9,
        dataloader=torch.utils.data.DataLoader(data, batch_size=BATCH, shuffle=True),
        log_dir=str(out / "own"),
        print_steps=10**9,
        vis_steps=10**9,
        log_steps=10**9,
        save_steps=10**9,
        device=torch.device("cpu"),
    )
    with contextlib.suppress(Ended):
        trainer.train()


SIDES = {"ours": ours, "pytorch": pytorch, "mimicry": mimicry}


def train(arguments: argparse.Namespace) -> None:
    """Every side whose checkout is there."""
    images = written(arguments.images, arguments.out / "images")
    words = [f"--images={images}", f"--count={arguments.count}"]
    words += [f"--peer={name}={path}" for name, path in arguments.folders.items()]
    rows = [row for row, (who, _) in ROWS.items() if who in ("ours", *arguments.folders)]
    run_sides(__file__, arguments, rows, words)


def written(path: str, folder: Path) -> Path:
    """PNG files of a set of images in one class folder: what every side can read."""
    from PIL import Image

    from largegan.evaluation.image_sets import open_image_set

    inner = folder / "all"
    if not inner.exists():
        inner.mkdir(parents=True)
        images = open_image_set(path)
        for number, image in enumerate(images.read(0, images.count)):
            pixels = image.permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(inner / f"{number:05d}.png")
    return folder


def serve(arguments: argparse.Namespace) -> None:
    who, what = ROWS[arguments.rows]
    out = arguments.out / slug(arguments.rows, arguments.seed)
    SIDES[who](what, out, arguments)


def score(arguments: argparse.Namespace) -> None:
    """By `largegan fid`, of everything that was drawn."""
    for folder, result in to_be_scored(arguments.out):
        words = [sys.executable, "-m", "largegan", "fid", arguments.reference, str(folder)]
        words += ["--metrics", "fid,kid", "--json", str(result)]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        print(folder, json.loads(result.read_text())["scores"], flush=True)


def main() -> None:
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--peer", action="append", default=[], help="NAME=FOLDER of a checkout")
    add("--images", default="bundled:noto32[::2]", help="what is learned")
    add("--reference", default="bundled:noto32[1::2]", help="what is compared with")
    add("--count", type=int, default=816, help="images that are drawn (default: 816)")
    arguments = parser.parse_args()
    pairs = [one.partition("=") for one in arguments.peer]
    arguments.folders = {name: Path(path).resolve() for name, _, path in pairs}
    {"train": train, "score": score, "table": table, "serve": serve}[arguments.what](arguments)


def table(arguments: argparse.Namespace) -> None:
    """Medians over seeds at each point, as JSON, Markdown and curves."""
    import torch

    name = re.sub(r"[^a-z0-9]+", "-", arguments.machine.lower()).strip("-")
    found = {row: curve(arguments.out, row) for row in ROWS}
    found = {row: points for row, points in found.items() if points}
    about = {"machine": arguments.machine, "torch": torch.__version__}
    about |= {key: getattr(arguments, key) for key in TOLD}
    text = json.dumps(about | {"rows": found}, indent=1)
    (RESULTS / f"quality-{name}.json").write_text(text + "\n")
    (RESULTS / f"quality-{name}.md").write_text(markdown(about, found))
    draw_curves(found, RESULTS / f"quality-{name}.png")


def curve(out: Path, row: str) -> list[dict]:
    """At each point: median and range of scores over the seeds, images, seconds."""
    points = []
    for point in POINTS:
        found = scored(out, row, point)
        if not found:
            continue
        abouts, each = [about for about, _ in found], [one["scores"] for _, one in found]
        fids, kids = ([one[name] for one in each] for name in ("fid", "kid"))
        points.append(
            {
                "cpu_s": statistics.median(a["cpu_s"] for a in abouts),
                "images": statistics.median(a["images"] for a in abouts),
                "fid": [min(fids), statistics.median(fids), max(fids)],
                "kid": [min(kids), statistics.median(kids), max(kids)],
                "error": max(one["fid_error"] for one in each),
                "seeds": len(found),
            }
        )
    return points


def markdown(about: dict, found: dict[str, list[dict]]) -> str:
    lines = [
        "# FID after equal processor time",
        "",
        f"{about['machine']}, torch {about['torch']}; {about['threads']} thread(s) a side, "
        f"{about['seconds']:g} seconds of processor time, start included; {about['count']} images "
        f"drawn, against `{about['reference']}`; learned from `{about['images']}`. Median over "
        "seeds, and the range. By `python benchmarks/quality.py`.",
        "",
        "| row | seconds | images read | FID | range | KID | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [line(row, point) for row, points in found.items() for point in points]
    return "\n".join(lines) + "\n"


def line(row: str, point: dict) -> str:
    low, middle, high = point["fid"]
    return (
        f"| {row} | {point['cpu_s']:.0f} | {point['images']:.0f} | {middle:.1f} ± "
        f"{point['error']:.1f} | {low:.1f} to {high:.1f} | {point['kid'][1]:.3f} | "
        f"{point['seeds']} |"
    )


def draw_curves(found: dict[str, list[dict]], out: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for row, points in found.items():
        style = "-" if row.startswith("ours") else "--"
        axes.plot(
            [p["cpu_s"] for p in points],
            [p["fid"][1] for p in points],
            style,
            marker=".",
            label=row,
        )
    axes.set(xlabel="seconds of processor time", ylabel="FID, median over seeds")
    axes.legend()
    figure.savefig(out, dpi=100)


if __name__ == "__main__":
    main()
