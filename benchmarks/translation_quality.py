#!/usr/bin/env python
"""Translation after equal processor time: ours beside the code of the papers, on the same pairs.

    python tools/datasets/emoji_translation.py PAIRS --resolution 64 --pairs
    python benchmarks/translation_quality.py train OUT --pairs PAIRS --peer FOLDER
    python benchmarks/translation_quality.py score OUT --pairs PAIRS
    python benchmarks/translation_quality.py table OUT --machine "NAME OF THE CPU"

FOLDER is a checkout of the peer as in translation_training.py; its own data set, model class and
`optimize_parameters` are used, nothing of it is copied. Both sides have the same networks (a ResNet
of six blocks, 32 wide, a PatchGAN 32 wide), the papers' losses, rates and batch of 1, images that
are not moved (pix2pix) or are mirrored (CycleGAN, which is not told what belongs together). `ours
pix2pix preset` has the settings of configs/pix2pix_emoji64.yaml instead, without its cropping. Each
trains in a process of its own until it has used `--seconds` of processor time, from the first line
of its program on; drawing and scoring do not count. At quarters of it each side translates the test
images, ours by averaged weights, the peer by its last ones, and `largegan compare` scores them
against the truth. `table` writes results/translation-quality-MACHINE.json and .md.
"""

import argparse
import contextlib
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

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
# Row: who trains, and by what.
ROWS = {
    "peer pix2pix": ("peer", "pix2pix"),
    "ours pix2pix": ("ours", "pix2pix"),
    "ours pix2pix preset": ("ours", "pix2pix_emoji64"),
    "peer cyclegan": ("peer", "cyclegan"),
    "ours cyclegan": ("ours", "cyclegan"),
}
SAME = {"architecture": "resnet", "depth": 6, "g_channels": 32, "d_channels": 32}
OURS = {
    "pix2pix": {"recipe.name": "pix2pix", "recipe.norm": "instance", "recipe.dropout": False},
    "cyclegan": {"recipe.name": "cyclegan", "data.mirror": True},
}
PEERS = {
    "pix2pix": ["--model", "pix2pix", "--no_flip"],
    "cyclegan": ["--model", "cycle_gan"],
}


def ours(what: str, turns: Turns, arguments: argparse.Namespace, tests: list) -> None:
    settings = {"data.path": arguments.out / "shards", "train.seed": arguments.seed}
    if what in OURS:
        settings |= OURS[what] | {f"recipe.{name}": value for name, value in SAME.items()}
        settings |= {"train.batch_size": 1, "recipe.ema_halflife_nimg": 200}
        words = []
    else:
        settings["data.crop"] = "null"
        words = ["--config", what]

    def draw_by(recipe):
        return lambda folder: translate(recipe.translate, tests, folder)

    train_ours(words, settings, turns, arguments.threads, draw_by)


def peer(what: str, turns: Turns, arguments: argparse.Namespace, tests: list) -> None:
    import torch
    from torch.utils.data import DataLoader

    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    sys.path.insert(0, str(arguments.peer))
    sys.argv = ["train.py", "--gpu_ids", "-1", "--dataroot", str(arguments.out / "peer")]
    sys.argv += ["--netG", "resnet_6blocks", "--ngf", "32", "--ndf", "32", "--crop_size", "64"]
    sys.argv += ["--load_size", "64", "--dataset_mode", "unaligned", "--no_dropout", "true"]
    sys.argv += ["--no_antialias", "--no_antialias_up", "--preprocess", "none"]
    sys.argv += ["--init_type", "normal", "--checkpoints_dir", str(turns.out), "--name", "own"]
    sys.argv += PEERS[what]
    from data.unaligned_dataset import UnalignedDataset
    from models import create_model
    from options.train_options import TrainOptions

    options = TrainOptions().parse()
    options.amp = False  # its CycleGAN reads this, and no option sets it
    options.serial_batches = what == "pix2pix"  # its name for "these belong together"
    data = UnalignedDataset(options)
    data.current_epoch = 0
    model = create_model(options)
    model.setup(options)
    network = model.netG if what == "pix2pix" else model.netG_A
    turns.draw = lambda folder: translate(network, tests, folder)
    with contextlib.suppress(Ended):
        while True:
            for batch in DataLoader(data, batch_size=1, shuffle=True):
                model.set_input(batch)
                model.optimize_parameters()
                turns.after_batch(1)


def translate(network, tests: list, folder: Path) -> None:
    """PNG files of the test images' names."""
    import torch
    from PIL import Image

    with torch.no_grad():
        for name, image in tests:
            (pixels,) = as_uint8(network(image[None]))
            Image.fromarray(pixels).save(folder / name)


def test_images(pairs: Path) -> list:
    """(file name, float32 `[3, H, W]` in [-1, 1])."""
    import numpy as np
    import torch
    from PIL import Image

    found = []
    for path in sorted((pairs / "test_a").iterdir()):
        pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32)
        found.append((path.name, torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)))
    return found


def train(arguments: argparse.Namespace) -> None:
    prepare(arguments)
    words = [f"--pairs={arguments.pairs}", f"--peer={arguments.peer}"]
    run_sides(__file__, arguments, list(ROWS), words)


def prepare(arguments: argparse.Namespace) -> None:
    """The pairs as shards for us, and under the peer's names for folders."""
    inner = arguments.out / "peer"
    inner.mkdir(parents=True, exist_ok=True)
    for ours_, theirs in (("a", "trainA"), ("b", "trainB")):
        link = inner / theirs
        if not link.exists():
            link.symlink_to(arguments.pairs.resolve() / "pairs" / ours_)
    if not (arguments.out / "shards").exists():
        words = [sys.executable, "-m", "largegan", "pack", str(arguments.pairs / "pairs")]
        words += [str(arguments.out / "shards"), "--paired", "--format", "png"]
        subprocess.run(words, check=True)


def serve(arguments: argparse.Namespace) -> None:
    who, what = ROWS[arguments.rows]
    out = arguments.out / slug(arguments.rows, arguments.seed)
    out.mkdir(exist_ok=True)
    tests = test_images(arguments.pairs)
    turns = Turns(arguments.seconds, out)
    {"ours": ours, "peer": peer}[who](what, turns, arguments, tests)


def score(arguments: argparse.Namespace) -> None:
    """By `largegan compare`, of everything that was translated, and of the inputs."""
    for folder, result in to_be_scored(arguments.out):
        words = [sys.executable, "-m", "largegan", "compare", str(folder)]
        words += [str(arguments.pairs / "test_b"), "--inputs", str(arguments.pairs / "test_a")]
        subprocess.run([*words, "--json", str(result)], check=True, stdout=subprocess.DEVNULL)


def table(arguments: argparse.Namespace) -> None:
    import torch

    name = re.sub(r"[^a-z0-9]+", "-", arguments.machine.lower()).strip("-")
    about = {"machine": arguments.machine, "torch": torch.__version__}
    about |= {"seconds": arguments.seconds, "threads": arguments.threads}
    found = [point for row in ROWS for point in points(arguments.out, row)]
    path = RESULTS / f"translation-quality-{name}.json"
    path.write_text(json.dumps(about | {"rows": found}, indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(about, found))
    print(markdown(about, found))


def points(out: Path, row: str) -> list[dict]:
    """At each point: lowest, median and highest of each score over the seeds."""
    found = []
    for point in POINTS:
        both = scored(out, row, point)
        if not both:
            continue
        abouts, each = [about for about, _ in both], [score for _, score in both]
        one = {"row": row, "point": point, "seeds": len(both)}
        for key in ("cpu_s", "images"):
            one[key] = statistics.median(a[key] for a in abouts)
        for key in ("l1", "psnr", "ssim"):
            values = sorted(scores["outputs"]["mean"][key]["mean"] for scores in each)
            one[key] = [values[0], statistics.median(values), values[-1]]
            one[f"copy_{key}"] = each[0]["inputs"]["mean"][key]["mean"]
        found.append(one)
    return found


def markdown(about: dict, found: list[dict]) -> str:
    lines = [
        "# Translation after equal processor time",
        "",
        f"{about['machine']}, torch {about['torch']}; {about['threads']} thread(s) a side, "
        f"{about['seconds']:g} seconds of processor time, start included. Flat emoji into 3-D "
        "ones, 64 pixels, 256 test pairs. Median over seeds, and the range. By "
        "`python benchmarks/translation_quality.py`.",
        "",
        "| row | seconds | images | L1 | PSNR | SSIM | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for p in found:
        cells = [f"{p[k][1]:.{d}f} ({p[k][0]:.{d}f} to {p[k][2]:.{d}f})" for k, d in DIGITS.items()]
        lines.append(
            f"| {p['row']} | {p['cpu_s']:.0f} | {p['images']:.0f} | {' | '.join(cells)} | "
            f"{p['seeds']} |"
        )
    if found:
        copied = [f"{found[0][f'copy_{key}']:.{d}f}" for key, d in DIGITS.items()]
        lines.append(f"| copying the input | | | {' | '.join(copied)} | |")
    return "\n".join(lines) + "\n"


DIGITS = {"l1": 4, "psnr": 2, "ssim": 3}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--pairs", type=Path, help="what tools/datasets/emoji_translation.py drew")
    parser.add_argument("--peer", type=Path, help="folder of the peer's checkout")
    arguments = parser.parse_args()
    {"train": train, "score": score, "table": table, "serve": serve}[arguments.what](arguments)


if __name__ == "__main__":
    main()
