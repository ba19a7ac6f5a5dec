"""Which illnesses are found, how soon, and how often a healthy run is called ill.

python benchmarks/health.py run FOLDER [--only PATTERN ...]    trains what is not there yet
python benchmarks/health.py table FOLDER                       the tables of results/health-*.md
python benchmarks/health.py cost FOLDER                        what it takes, of training's time
python benchmarks/health.py record FOLDER                      tests/health/recorded.json, of these
python benchmarks/health.py picture FOLDER                     before and after, FOLDER/mended.png

Every run has two minutes of one core at most, on the bundled emoji (a toy, on numbers). Verdicts
are functions of what runs have logged: `table` reads the logs again, so a threshold can be changed
without training anew, and seeds that it was not set on are shown apart. A run that was begun and
not ended is trained anew.
"""

import argparse
import contextlib
import fnmatch
import io
import json
import sys
import tempfile
import time
from pathlib import Path

import torch
from health_cases import MENDS, RECIPES, SEEDS, cases, flags, words
from PIL import Image

from largegan.config.parse import parse
from largegan.errors import UserError
from largegan.files.lines import read_lines
from largegan.health.diagnosis import Diagnosis, counts
from largegan.health.records import Notice, merged, still_there
from largegan.health.verdicts import VERDICTS
from largegan.parallel.launch import World
from largegan.run.checkups import RARE, SPARSE
from largegan.run.lock import RunLock
from largegan.run.session import Session

ROOT = Path(__file__).parents[1]
SECONDS = 110.0  # of this process's time, unless told otherwise


class Watch:
    """Asks a run to stop when its time is up."""

    def __init__(self, seconds: float):
        self.until = time.process_time() + seconds

    @property
    def heard(self) -> bool:
        return time.process_time() > self.until


def train(folder: Path, argv: list[str], seconds: float) -> dict:
    """Runs one case and draws what it makes at its end; returns how that was."""
    torch.set_num_threads(1)
    begun, ended, lock = time.process_time(), "", RunLock()
    config = parse([*argv, "--run.dir", str(folder)])
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            session = Session(config, World(0, 1, torch.device("cpu")), lock)
            session.run(Watch(seconds))
    except UserError as fault:
        ended = f"{type(fault).__name__}: {fault}"
    finally:
        lock.release()
    session.show()
    return {"run": str(folder), "cpu_s": time.process_time() - begun, "ended": ended[:300]}


def run(folder: Path, patterns: list[str], seconds: float) -> None:
    for name, (argv, _) in cases().items():
        result = folder / f"{name}.json"
        if result.exists() or not any(fnmatch.fnmatch(name, p) for p in patterns):
            continue
        found = train(folder / "runs" / f"{name}-{time.time_ns()}", argv, seconds)
        result.write_text(json.dumps(found, indent=1))
        print(name, round(found["cpu_s"], 1), *told(found), flush=True)


def told(result: dict) -> list[str]:
    """Which verdicts began, at how many images."""
    return [f"{n.verdict} {n.nimg}" for n in notices(result) if n.state == "begins"]


def notices(result: dict) -> list[Notice]:
    """What the verdicts of today say of a run's log."""
    diagnosis = Diagnosis({})
    return [notice for line in log_of(result) for notice in diagnosis.add(line)]


def log_of(result: dict) -> list[dict]:
    """The lines of a run's log that are about its health."""
    lines = merged(read_lines(Path(result["run"]) / "metrics.jsonl"))
    return [line for line in lines if counts(line)]


def trained(result: dict) -> int:
    """Images."""
    return log_of(result)[-1]["nimg"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "table", "picture", "cost", "record"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", default=["*"])
    parser.add_argument("--seconds", type=float, default=SECONDS)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.what == "picture":
        picture(arguments.folder, arguments.folder / "mended.png")
    elif arguments.what == "record":
        record(arguments.folder, ROOT / "tests" / "health" / "recorded.json")
    elif arguments.what == "cost":
        print(cost(arguments.only))
    elif arguments.what == "run":
        run(arguments.folder, arguments.only, arguments.seconds)
    else:
        print(table(arguments.folder))


def record(folder: Path, out: Path) -> None:
    """Windows of real runs for tests: ill ones until they are found, healthy ones as long."""
    kept = {}
    for name, (_, verdict) in cases().items():
        path = folder / f"{name}.json"
        if not path.exists() or name.startswith("mended"):
            continue
        result = json.loads(path.read_text())
        found = [n.nimg for n in notices(result) if n.verdict == verdict and n.state == "begins"]
        lines = [shortened(line) for line in log_of(result)]
        if verdict is None:
            kept[name] = {"verdict": None, "lines": lines[:HEALTHY_LINES]}
        elif found:
            kept[name] = {"verdict": verdict, "lines": [x for x in lines if x["nimg"] <= found[0]]}
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in kept.items())
    out.write_text(f"{{\n{rows}\n}}\n")


HEALTHY_LINES = 24


def shortened(line: dict) -> dict:
    """What verdicts read, in four digits."""
    needed = {key for row in VERDICTS.values() for key in row.needs}
    needed |= {"health/distance", "health/grad_norm_d", "health/grad_norm_g", "health/logit_spread"}
    digits = {key: float(f"{line[key]:.4g}") for key in sorted(needed & line.keys())}
    return {"nimg": line["nimg"], **digits}


def cost(patterns: list[str]) -> str:
    """Markdown: what watching takes of training's time, with the intervals that are defaults."""
    lines = ["| recipe | signals | look at samples | held-out images |", "|---|---|---|---|"]
    for recipe in RECIPES:
        if not any(fnmatch.fnmatch(recipe, p) for p in patterns):
            continue
        shares = [f"{share:.2%}" for share in shares_of(recipe)]
        lines.append(f"| {recipe} | {' | '.join(shares)} |")
    return "\n".join(lines)


def shares_of(recipe: str) -> tuple[float, float, float]:
    """Of signals, looks and passes over held-out images, of the time of training alone."""
    torch.set_num_threads(1)
    count = 256
    argv = words(recipe, {"data.held_out": 100, "health.look_count": count})
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        config = parse([*argv, "--run.dir", folder])
        session = Session(config, World(0, 1, torch.device("cpu")), RunLock())
        trainer, checkups = session.trainer, session.checkups
        for _ in range(4):
            trainer.iteration()
        observer = Timed(trainer.observer)
        trainer.observer = observer
        iteration = seconds(lambda: [trainer.iteration() for _ in range(ITERATIONS)]) / ITERATIONS
        heard = observer.seconds / ITERATIONS
        alone = iteration - heard
        checkups.look()  # the first reads the training examples, once for a run
        images = SPARSE * count / trainer.batch_size * alone
        passed = seconds(checkups.unseen)
        looked = seconds(checkups.look)
        session.lock.release()
    return heard / alone, looked / images, passed / (RARE * alone)


ITERATIONS = 24


def seconds(work) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


class Timed:
    """An observer whose work is timed."""

    def __init__(self, observer):
        self.observer, self.seconds, self.judging = observer, 0.0, observer.judging

    def hear(self, *arguments) -> None:
        self.seconds += seconds(lambda: self.observer.hear(*arguments))

    def keep(self, *arguments) -> None:
        self.seconds += seconds(lambda: self.observer.keep(*arguments))


def table(folder: Path) -> str:
    """Markdown: detection by configuration, false alarms by recipe."""
    found = {
        name: json.loads((folder / f"{name}.json").read_text())
        for name in cases()
        if (folder / f"{name}.json").exists()
    }
    return "\n".join([*detections(found), "", *alarms(found), "", *mended(found)])


def mended(found: dict[str, dict]) -> list[str]:
    """Before and after: whether the verdict is over, how far samples are, and how varied."""
    lines = [
        "| illness | remedy | ill at the end | distance | diversity |",
        "|---|---|---|---|---|",
    ]
    for row, (name, remedy) in MENDS.items():
        if not {name, f"mended-{row}"} <= found.keys():
            continue
        verdict, rows = cases()[name][1], []
        for result in (found[name], found[f"mended-{row}"]):
            ill = verdict in {notice.verdict for notice in still_there(notices(result))}
            rows.append(("yes" if ill else "no", *(last(result, key) for key in LOOKED)))
        both = " | ".join(f"{a} → {b}" for a, b in zip(*rows, strict=True))
        lines.append(f"| {name} | {' '.join(flags(remedy))} | {both} |")
    return lines


LOOKED = ("health/distance", "health/diversity")


def last(result: dict, key: str) -> str:
    lines = read_lines(Path(result["run"]) / "metrics.jsonl")
    values = [line[key] for line in lines if key in line]
    return f"{values[-1]:.2f}" if values else "?"


def picture(folder: Path, out: Path) -> None:
    """Before on the left, after on the right; a row for each illness that was treated."""
    rows = []
    for row, (name, _) in MENDS.items():
        pair = [folder / f"{case}.json" for case in (name, f"mended-{row}")]
        if all(path.exists() for path in pair):
            rows.append([newest(json.loads(path.read_text())) for path in pair])
    side, gap = 4 * 32, 8
    canvas = Image.new("RGB", (2 * side + gap, len(rows) * (side + gap) - gap), "white")
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            canvas.paste(image.crop((0, 0, side, side)), (x * (side + gap), y * (side + gap)))
    canvas.save(out)


def newest(result: dict) -> Image.Image:
    return Image.open(max((Path(result["run"]) / "samples").glob("fakes-*.png")))


def detections(found: dict[str, dict]) -> list[str]:
    lines = ["| illness | configuration | found after images | trained | also said |"]
    lines.append("|---|---|---|---|---|")
    hits = total = 0
    for name, (_, verdict) in cases().items():
        if verdict is None or name not in found:
            continue
        first = {}
        for notice in notices(found[name]):
            if notice.state == "begins":
                first.setdefault(notice.verdict, notice.nimg)
        others = ", ".join(sorted(first.keys() - {verdict}))
        total, hits = total + 1, hits + (verdict in first)
        lines.append(
            f"| {verdict} | {name.removeprefix(verdict + '-')} | "
            f"{first.get(verdict, 'not found')} | {trained(found[name])} | {others} |"
        )
    return [*lines, "", f"Found: {hits} of {total}."]


def alarms(found: dict[str, dict]) -> list[str]:
    lines = ["| healthy run | seed | images | called ill |", "|---|---|---|---|"]
    called = total = 0
    for recipe in RECIPES:
        for seed in SEEDS:
            name = f"healthy-{recipe}-{seed}"
            if name not in found:
                continue
            said = told(found[name])
            total, called = total + 1, called + bool(said)
            lines.append(f"| {recipe} | {seed} | {trained(found[name])} | {', '.join(said)} |")
    return [*lines, "", f"Called ill: {called} of {total} healthy runs."]


if __name__ == "__main__":
    sys.exit(main())
