"""Part of quality.py and translation_quality.py: sides that train until their time is up.

A side is a process of its own, which is started as `SCRIPT serve OUT --rows ROW --seed SEED ...`.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

CLOCK = time.process_time  # of the whole process, its imports too
POINTS = (0.25, 0.5, 0.75, 1.0)  # of the time, at which a side draws


class Ended(Exception):
    """The side has used its time."""


def nothing(folder: Path) -> None:
    """Draws nothing yet."""


class Turns:
    """Asks a side to draw when a point in time has come, and to end when its time is up.

    Args:
        seconds: of processor time.
        out: of the side; each point has a folder of its own.
        draw: writes images into a folder; may be told later.
    """

    def __init__(self, seconds: float, out: Path, draw: Callable[[Path], None] = nothing):
        self.seconds, self.out, self.draw = seconds, out, draw
        self.aside, self.left, self.images = 0.0, list(POINTS), 0

    def after_batch(self, size: int) -> None:
        """Raises `Ended` after the last point."""
        self.images += size
        spent = CLOCK() - self.aside
        while self.left and spent >= self.left[0] * self.seconds:
            begun, point = CLOCK(), self.left.pop(0)
            folder = self.out / f"{point:g}"
            folder.mkdir(parents=True)
            self.draw(folder)
            about = {"cpu_s": spent, "images": self.images}
            (self.out / f"{point:g}.json").write_text(json.dumps(about))
            self.aside += CLOCK() - begun
        if not self.left:
            raise Ended


class Ear:
    """What a run asks after each iteration: whether it should stop."""

    def __init__(self, turns: Turns, trainer):
        self.turns, self.trainer, self.seen = turns, trainer, 0
        # As peers count them: every batch that the discriminator learns from.
        steps = [p.repeat / p.every for p in trainer.recipe.phases if p.player.startswith("D")]
        self.reads = max(1.0, max(steps, default=1.0))

    @property
    def heard(self) -> bool:
        size = self.trainer.at.nimg - self.seen
        self.seen += size
        self.turns.after_batch(int(size * self.reads))
        return False


def train_ours(words: list[str], settings: dict, turns: Turns, threads: int, draw_by) -> None:
    """Trains by words of the command line and `settings`; `draw_by(recipe)` is how it draws."""
    import torch

    from largegan.config.parse import parse
    from largegan.parallel.launch import World
    from largegan.run.lock import RunLock
    from largegan.run.session import Session

    settings = settings | {
        "run.dir": turns.out / "run",
        "data.workers": 0,
        "train.total_nimg": 10**9,
        "train.cpu_threads": threads,
    }
    words = words + [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    config, lock = parse(words), RunLock()
    torch.set_num_threads(threads)
    session = Session(config, World(0, 1, torch.device("cpu")), lock)
    turns.draw = draw_by(session.trainer.recipe)
    with contextlib.suppress(Ended):
        session.run(Ear(turns, session.trainer))


def run_sides(
    script: str, arguments: argparse.Namespace, rows: list[str], words: list[str]
) -> None:
    """Every row that is wanted and not there yet, for every seed; rows take turns."""
    for seed in arguments.seeds:
        for row in rows:
            done = arguments.out / slug(row, seed) / f"{POINTS[-1]:g}.json"
            if done.exists() or arguments.rows not in row:
                continue
            started = [sys.executable, script, "serve", str(arguments.out), "--rows", row]
            started += [f"--seed={seed}", f"--seconds={arguments.seconds}", *words]
            started += [f"--threads={arguments.threads}"]
            env = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
            with open(arguments.out / f"{slug(row, seed)}.log", "w") as log:
                subprocess.run(started, check=True, stdout=log, stderr=log, env=env)
            print(row, seed, json.loads(done.read_text()), flush=True)


def slug(row: str, seed: int) -> str:
    return f"{row.replace(' ', '-')}-{seed}"


def as_uint8(images):
    """`[N, C, H, W]` in [-1, 1] -> uint8 `[N, H, W, C]`."""
    return ((images + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def to_be_scored(out: Path) -> list[tuple[Path, Path]]:
    """(folder of what was drawn, file that its score goes to) of all that has no score yet."""
    drawn = [about.with_suffix("") for about in sorted(out.glob("*-[0-9]/*.json"))]
    pairs = [(folder, folder.parent / f"{folder.name}.score") for folder in drawn]
    return [(folder, result) for folder, result in pairs if folder.is_dir() and not result.exists()]


def scored(out: Path, row: str, point: float) -> list[tuple[dict, dict]]:
    """(seconds and images, the score) of each seed of a row at a point of the time."""
    files = out.glob(f"{row.replace(' ', '-')}-[0-9]/{point:g}.score")
    return [
        (json.loads((f.parent / f"{point:g}.json").read_text()), json.loads(f.read_text()))
        for f in files
    ]


def parser_of(about: str) -> argparse.ArgumentParser:
    """The arguments that both scripts have."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("what", choices=["train", "score", "table", "serve"])
    add("out", type=Path, help="folder of this comparison")
    add("--rows", default="", help="rows whose name contains this (default: all)")
    add("--seconds", type=float, default=300.0, help="of processor time (default: 300)")
    add("--threads", type=int, default=1, help="of each side (default: 1)")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add("--seed", type=int, default=0, help=argparse.SUPPRESS)
    add("--machine", default="", help="what it ran on, such as 'AMD EPYC, 2 cores'")
    return parser
