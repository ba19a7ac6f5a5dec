"""The promise of the whole program: kill -9 at any time, resume, and the bytes are the same."""

import filecmp
import json
import os
import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file

from largegan import checkpoint
from largegan.data.pack import pack
from largegan.data.prepare import Preparation
from largegan.recipes import recipe_class
from tests import forked
from tests.data.conftest import write_pairs
from tests.recipes.common import NAMES, NO_BATCH_STATISTICS, TINY

EVERY = 32


def arguments(name: str, folder: Path, total_nimg: int, **options) -> list[str]:
    """A tiny run of a recipe on the bundled emoji (or on numbers)."""
    words = {
        "run.dir": folder,
        **data_of(name, folder.parent),
        "data.workers": 0,
        "data.mirror": "true",
        "train.total_nimg": total_nimg,
        "train.batch_size": 8,
        "train.save_every_nimg": EVERY,
        "train.log_every_nimg": EVERY,
        "train.sample_every_nimg": EVERY,
        "train.sample_rows": 2,
        "train.cpu_threads": 1,
        "recipe.name": name,
        **{f"recipe.{k}": v for k, v in TINY.get(name, {}).items()},
        **options,
    }
    return [word for key, value in words.items() for word in (f"--{key}", str(value))]


def data_of(name: str, scratch: Path) -> dict[str, object]:
    """Data that a recipe can train on: the emoji, twice for two domains, or a few pairs."""
    recipe = recipe_class(name)
    if "x" in recipe.reads:
        return {"data.path": "synthetic:gaussian"}
    if recipe.paired:
        if not (scratch / "pairs").exists():
            write_pairs(scratch / "images", 12)
            preparation = Preparation(format="png")
            pack(scratch / "images", scratch / "pairs", preparation=preparation, channels_b=3)
        return {"data.path": scratch / "pairs"}
    if "image_b" in recipe.reads:
        return {"data.path": "bundled:noto32", "data.path_b": "bundled:noto32", "data.crop": 28}
    return {"data.path": "bundled:noto32"}


@pytest.mark.parametrize("name", NAMES)
def test_kill_and_resume_give_the_same_bytes(name, tmp_path):
    """Train 2N == train N, kill -9 somewhere after, resume: model and optimizer, byte for byte."""
    killed, whole, log = tmp_path / "killed", tmp_path / "whole", tmp_path / "log"
    process = forked.start(arguments(name, killed, 10**7), log)
    first = killed / "checkpoints" / f"{EVERY:09d}" / checkpoint.MARKER
    forked.wait_for(lambda: first.exists(), process, log)
    process.kill()
    process.join()
    found, _ = checkpoint.newest(killed / "checkpoints")
    end = int(found.name) + EVERY
    assert forked.run(arguments(name, killed, end, **{"run.resume": "auto"}), log) == 0
    assert f"resuming from {found}" in log.read_text()
    assert forked.run(arguments(name, whole, end), log) == 0
    for file in (checkpoint.MODEL, checkpoint.OPTIMIZER):
        a, b = (f / "checkpoints" / f"{end:09d}" / file for f in (whole, killed))
        assert filecmp.cmp(a, b, shallow=False), f"{file} differs"
    nimgs = [
        [json.loads(line)["nimg"] for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (whole, killed)
    ]
    assert nimgs[0] == nimgs[1], "each line of metrics.jsonl exactly once, also after a kill"
    assert "no report was written" not in log.read_text()
    assert (whole / "report.html").exists() and (killed / "report.html").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_asks_to_be_requeued(number, tmp_path):
    """Exit code 75 with a checkpoint of this very moment, from which the run goes on exactly."""
    stopped, whole, log = tmp_path / "stopped", tmp_path / "whole", tmp_path / "log"
    rarely = {"train.save_every_nimg": 10**7}
    process = forked.start(arguments("gan", stopped, 10**7, **rarely), log)
    first = stopped / "metrics.jsonl"
    forked.wait_for(first.exists, process, log)
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode == 75, log.read_text()
    found, _ = checkpoint.newest(stopped / "checkpoints")
    end = int(found.name) + EVERY
    again = {**rarely, "run.resume": "auto"}
    assert forked.run(arguments("gan", stopped, end, **again), log) == 0
    assert forked.run(arguments("gan", whole, end, **rarely), log) == 0
    for file in (checkpoint.MODEL, checkpoint.OPTIMIZER):
        a, b = (f / "checkpoints" / f"{end:09d}" / file for f in (whole, stopped))
        assert filecmp.cmp(a, b, shallow=False), f"{file} differs"


def test_one_process_equals_two_on_real_images(tmp_path):
    """The command line, the real loader, real ranks: same images, same noise.

    Adam turns the rounding of a gradient that is nearly zero into a step of full length; how often,
    depends on the processor. So the difference is measured by the way that training went between
    two checkpoints: with other images or other noise it is about as long as that way.
    """
    options = {
        "train.micro_batch_size": 2,
        **{f"recipe.{k}": v for k, v in NO_BATCH_STATISTICS["wgan_gp"].items()},
    }
    one, two, log = tmp_path / "one", tmp_path / "two", tmp_path / "log"
    assert forked.run(arguments("wgan_gp", one, 64, **options), log) == 0
    words = arguments("wgan_gp", two, 32, **options, **{"parallel.processes": 2})
    forked.run_ranks(["-m", "largegan.train", *words], world=2)
    # And on: from two processes back to one.
    again = arguments("wgan_gp", two, 64, **options, **{"run.resume": "must"})
    assert forked.run(again, log) == 0
    ends = [(one, 32), (one, 64), (two, 64)]
    first, a, b = (load_file(f / f"checkpoints/{n:09d}/model.safetensors") for f, n in ends)

    def distance(x: dict, y: dict) -> float:
        return sum((x[k].double() - y[k].double()).square().sum() for k in a).sqrt().item()

    assert a.keys() == b.keys()
    assert distance(a, b) < 1e-2 * distance(first, a)
