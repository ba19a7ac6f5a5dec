#!/usr/bin/env python
"""Kills runs at random instants, lets them go on, and compares their ends with unbroken ones.

    python benchmarks/kills.py --machine "NAME OF THE CPU" --kills 100
    python benchmarks/kills.py --machine "NAME OF THE CPU" --kills 100 --minutes 9   in parts
    python benchmarks/kills.py                            writes the sentence of docs/engines.md

A case is a recipe of the table under an engine: one process, or two under each way of sharing a
player out. It is trained once unbroken. Then it is begun again, and all its processes are killed
with signal 9 at an instant that is drawn evenly from the time the unbroken run took, from the
first line of the program on; and so on, up to `--per-run` kills, before it may come to its end.
Each iteration is saved, so many kills meet a checkpoint that is being written. At the end weights
and moments must be those of the unbroken run, byte for byte, also the data's position and all else
in state.json, and each line of the log must be there once. Cases and draws are functions of the
seed and of the case's number. What is in the results is not done again: parts add up.
"""

import argparse
import gc
import hashlib
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
PAGE = ROOT / "docs" / "engines.md"
BEGIN, END = "<!-- from benchmarks/results/kills.json -->", "<!-- end -->"
BATCH, IMAGES = 8, 96  # an iteration, and a run
ALONE = "one process"
LATEST_S = 180  # a start that takes longer stands still
PRELOADED = (
    "accelerate",
    "deepspeed",
    "largegan.run.session",
    "matplotlib.figure",
    "torch._inductor.compile_fx",
    "torch.distributed.fsdp",
    "torchvision.utils",
)


class Start:
    """The processes of one start of training, forked from what is imported already."""

    def __init__(self, words: list[str], world: int, log: Path):
        self.log, self.port = log, free_port()
        self.begun = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            os._exit(self.launch(words, world))

    def launch(self, words: list[str], world: int) -> int:
        """What the leader of the group does: the largest exit code of the ranks."""
        ranks = []
        for number in range(world):
            pid = os.fork()
            if pid == 0:
                self.rank(words, number, world)
            ranks.append(pid)
        return max(abs(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])) for pid in ranks)

    def rank(self, words: list[str], number: int, world: int) -> None:
        file = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        if world > 1:
            os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number)}
            os.environ |= {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self.port)}
        try:
            code = importlib.import_module("largegan.train").main(words)
        except BaseException:
            importlib.import_module("traceback").print_exc()
            code = 1
        sys.stdout.flush()
        os._exit(code)

    def until(self, seconds: float) -> int | None:
        """The exit code, or None when training still goes on so long after its begin."""
        while time.monotonic() - self.begun < seconds:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        return None

    def kill(self) -> None:
        """Signal 9 to all of them at once, and waits until they are gone."""
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        while any(group_lives(self.pid)):
            time.sleep(0.002)


def group_lives(group: int) -> Iterator[bool]:
    """Of every process in a group, whether it is more than an entry that nobody collected."""
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of_group = file.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # gone meanwhile
            continue
        if int(of_group) == group:
            yield state not in "ZX"


def free_port() -> int:
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cases() -> Iterator[tuple[str, str]]:
    """(recipe, engine) without end: all recipes, then again under other engines."""
    from largegan.parallel.choose import ENGINES
    from largegan.recipes import TABLE

    engines = [ALONE, *(name for name in ENGINES if name != "deepspeed")]
    number = 0
    while True:
        for i, name in enumerate(TABLE):
            yield name, engines[(i + number) % len(engines)]
        number += 1


def words_of(recipe: str, engine: str, folder: Path) -> list[str]:
    """The tests' small configuration of a recipe; every iteration is saved."""
    from tests.test_resume import arguments

    options = {
        "run.resume": "auto",
        "train.batch_size": BATCH,
        "train.micro_batch_size": BATCH // 2,
        "train.save_every_nimg": BATCH,
        "train.log_every_nimg": BATCH,
        "train.keep_last": 2,
        "parallel.engine": "replicated" if engine == ALONE else engine,
    }
    return arguments(recipe, folder, IMAGES, **options)


def moment(run: Path, said: str) -> str:
    """What was going on when a run was killed, from what it left."""
    folder = run / "checkpoints"
    inside = list(folder.iterdir()) if folder.is_dir() else []
    whole = [path.name for path in inside if path.name.isdigit() and (path / "COMPLETE").exists()]
    if "pictures appear in" not in said:
        return "resuming" if whole else "starting"
    if any(path.name.startswith(".removed") for path in inside):
        return "removing a checkpoint"
    if len(whole) < len(inside):
        return "writing a checkpoint"
    return "ending" if f"{IMAGES:09d}" in whole else "training"


def ends(run: Path) -> dict[str, object]:
    """What must be the same after any number of kills."""
    folder = run / f"checkpoints/{IMAGES:09d}"
    state = json.loads((folder / "state.json").read_text())
    for changes in ("dir", "resume"):
        state["config"]["run"].pop(changes)
    found: dict[str, object] = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("model.safetensors", "optimizer.safetensors")
    }
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return found | {"state.json": state, "lines of the log": [line["nimg"] for line in lines]}


def one_case(
    recipe: str, engine: str, draws: list[float], folder: Path, log: Path
) -> dict[str, object]:
    """Trains unbroken, then killed at `draws` (of the unbroken run's time), and compares."""
    world = 1 if engine == ALONE else 2
    whole = Start(words_of(recipe, engine, folder / "whole"), world, log)
    code, span = whole.until(LATEST_S), time.monotonic() - whole.begun
    if code != 0:
        return {"fault": f"the unbroken run ended with {code}", "kills": []}
    run, kills = folder / "killed", []
    for draw in [*draws, None]:
        before = log.stat().st_size
        start = Start(words_of(recipe, engine, run), world, log)
        code = start.until(LATEST_S if draw is None else draw * span)
        if code is not None:
            break
        start.kill()
        if draw is None:
            return {"fault": f"not done after {LATEST_S} s", "kills": kills}
        kills.append({"at": round(draw, 4), "while": moment(run, log.read_text()[before:])})
    if code != 0:
        return {"fault": f"ended with {code} after {len(kills)} kills", "kills": kills}
    found, wanted = ends(run), ends(folder / "whole")
    other = [name for name in wanted if found[name] != wanted[name]]
    fault = f"other {', '.join(other)}" if other else ""
    return {"fault": fault, "kills": kills, "unbroken_s": round(span, 2)}


def summary(found: list[dict]) -> dict[str, object]:
    kills = [kill for case in found for kill in case["kills"]]
    return {
        "kills": len(kills),
        "while": dict(Counter(kill["while"] for kill in kills).most_common()),
        "runs": len(found),
        "of another end": sum(bool(case["fault"]) for case in found),
        "recipes": len({case["recipe"] for case in found}),
        "by engine": dict(Counter(case["engine"] for case in found for _ in case["kills"])),
    }


def write(results: Path, about: dict, found: list[dict]) -> None:
    """The JSON, and the log for people: a line for each run."""
    results.write_text(json.dumps({**about, **summary(found), "cases": found}, indent=1) + "\n")
    lines = [
        f"{case['recipe']}, {case['engine']}: killed "
        + (", ".join(f"{k['while']} ({k['at']:.0%})" for k in case["kills"]) or "never")
        + f"; {case['fault'] or 'the same bytes'}"
        for case in found
    ]
    results.with_suffix(".log").write_text("\n".join(lines) + "\n")


def published(page: str, document: dict) -> str:
    """The page with what was found between its marks."""
    moments = ", ".join(f"{count} while {what}" for what, count in document["while"].items())
    text = (
        f"{document['kills']} kills of {document['runs']} runs, {document['recipes']} recipes: "
        f"{moments}.\n{document['of another end']} runs had another end "
        f"({document['machine']}; each kill is in\n`benchmarks/results/kills.log`)."
    )
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{text}\n{END}{rest.split(END, 1)[1]}"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--machine")
    parser.add_argument("--kills", type=int, default=100, help="in all parts together")
    parser.add_argument("--per-run", type=int, default=4, help="kills of one run at most")
    parser.add_argument("--minutes", type=float, help="begin no run after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="RECIPE", help="cases of one recipe")
    parser.add_argument("--results", type=Path, default=RESULTS / "kills.json")
    parser.add_argument("--keep", type=Path, help="a folder for runs whose end was another")
    arguments = parser.parse_args(argv)
    if arguments.machine is None:
        PAGE.write_text(published(PAGE.read_text(), json.loads(arguments.results.read_text())))
        return 0
    import torch

    about = {"machine": arguments.machine, "torch": torch.__version__, "seed": arguments.seed}
    found = known(arguments.results, about)
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()
    deadline = time.monotonic() + 60 * (arguments.minutes or 1e9)
    for number, (recipe, engine) in enumerate(cases()):
        if summary(found)["kills"] >= arguments.kills or time.monotonic() > deadline:
            break
        if arguments.only not in (None, recipe) or number in [case["number"] for case in found]:
            continue
        random = Random(f"{arguments.seed} {number}")
        draws = [random.random() for _ in range(arguments.per_run)]
        case = {"number": number, "recipe": recipe, "engine": engine}
        with tempfile.TemporaryDirectory(prefix="largegan-kills-") as place:
            case |= one_case(recipe, engine, draws, Path(place), Path(place) / "log")
            if case["fault"] and arguments.keep:
                shutil.copytree(place, arguments.keep / f"{number}-{recipe}-{engine}")
        print(case, flush=True)
        write(arguments.results, about, found := [*found, case])
    print(json.dumps(summary(found)))
    return 1 if summary(found)["of another end"] else 0


def known(results: Path, about: dict) -> list[dict]:
    """Cases of earlier parts, of this machine and seed."""
    if not results.exists():
        return []
    before = json.loads(results.read_text())
    if any(before[key] != about[key] for key in about):
        sys.exit(f"{results} is of another machine, torch or seed; name another --results")
    return before["cases"]


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
