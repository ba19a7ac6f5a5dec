#!/usr/bin/env python
"""A run that falls ill, with a rollback and without one: where both end.

    python benchmarks/rollback.py OUT --machine "NAME OF THE CPU"

`gan` on the bundled emoji at a hundred times its learning rate: modes collapse within 10,000 images
and training diverges. Both sides train 60,000 images from the same seed; one has `health.on_...:
rollback` with a tenth of the rate from there on. FID and KID are of 816 averaged samples at the
end against all emoji. What is in OUT is not done again; a minute of one core for each side, and
two to three for each score. Writes results/rollback-MACHINE.md.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from largegan.files.lines import read_lines

RESULTS = Path(__file__).parent / "results"
DATA = "bundled:noto32"
SETTINGS = {
    "data.path": DATA,
    "data.workers": 0,
    "recipe.name": "gan",
    "recipe.width": 128,
    "recipe.ema_halflife_nimg": 500,
    "recipe.lr": 2e-2,
    "train.total_nimg": 60_000,
    "train.batch_size": 32,
    "train.log_every_nimg": 1000,
    "train.sample_every_nimg": 20_000,
    "train.save_every_nimg": 1000,
    "train.keep_last": 8,
    "train.cpu_threads": 1,
    "health.look_every_nimg": 2000,
    "health.look_count": 128,
}
SIDES = {
    "without": {},
    "with": {
        "health.on_mode_collapse": "rollback",
        "health.on_diverges": "rollback",
        "health.rollback.change": "{recipe.lr: times 0.1}",
    },
}


def train(run: Path, seed: int, side: str) -> None:
    if run.exists():
        return
    settings = SETTINGS | SIDES[side] | {"run.dir": run, "train.seed": seed}
    words = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    with open(f"{run}.log", "w") as log:
        subprocess.run([sys.executable, "-m", "largegan", "train", *words], stdout=log, check=True)


def score(run: Path) -> dict[str, tuple[float, float]]:
    """fid and kid, with their errors."""
    said = Path(f"{run}.fid")
    if not said.exists():
        words = ["fid", DATA, str(run), "--count", "816", "--metrics", "fid,kid"]
        done = subprocess.run(
            [sys.executable, "-m", "largegan", *words], stdout=subprocess.PIPE, check=True
        )
        said.write_bytes(done.stdout)
    rows = re.findall(r"^(FID|KID) +([\d.e-]+) ± ([\d.e-]+)", said.read_text(), re.M)
    return {name.lower(): (float(value), float(error)) for name, value, error in rows}


def events(run: Path) -> str:
    """What the run's health did, shortly."""
    lines = read_lines(run / "health.jsonl")
    ill = [f"{x['verdict']} at {x['nimg']}" for x in lines if x.get("state") == "begins"]
    back = [f"back to {x['nimg']}" for x in lines if x.get("event") == "rollback"]
    return "; ".join(ill[:2] + back) or "well"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--machine", required=True, help="what it ran on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    lines = ["| seed | rollback | FID at the end | KID | health |", "|---|---|---|---|---|"]
    for seed in arguments.seeds:
        for side in SIDES:
            run = arguments.out / f"lr-{seed}-{side}"
            train(run, seed, side)
            found = score(run)
            numbers = [f"{value:.4g} ± {error:.2g}" for value, error in found.values()]
            lines.append(f"| {seed} | {side} | {' | '.join(numbers)} | {events(run)} |")
            print(lines[-1], flush=True)
    name = re.sub(r"[^a-z0-9]+", "-", arguments.machine.lower()).strip("-")
    head = f"# A run that falls ill, with and without a rollback\n\n{arguments.machine}; "
    head += "`python benchmarks/rollback.py OUT`, whose head says what it does.\n\n"
    (RESULTS / f"rollback-{name}.md").write_text(head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
