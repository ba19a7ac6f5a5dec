"""What is due by the clock: lines, pictures, checkpoints, the end; and that bytes do not change."""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from largegan.run import session
from largegan.run.clock import Clock, end_of_job
from largegan.train import main

ALONE = SimpleNamespace(rank=0, world=1)
QUIET = SimpleNamespace(heard=False, begun=0.0)


def clock(max_seconds=None, **minutes):
    """A clock that shows `time.now`."""
    time = SimpleNamespace(now=0.0)
    names = {"report": None, "picture": None, "checkpoint": None} | minutes
    return time, Clock(names, max_seconds, now=lambda: time.now)


def test_the_first_iteration_is_reported_and_others_when_a_minute_is_over():
    time, due = clock(report=1.0)
    assert due.due(QUIET, ALONE) == {"report"}
    due.happened("report")
    time.now = 59
    assert due.due(QUIET, ALONE) == set()
    time.now = 60
    assert due.due(QUIET, ALONE) == {"report"}
    due.happened("report", "picture")
    assert due.due(QUIET, ALONE) == set()


def test_a_signal_counts_whoever_got_it_and_the_clock_of_rank_0_alone():
    time, due = clock(report=None, picture=1.0)
    time.now = 100
    sums = SimpleNamespace(rank=1, world=2, device="cpu", mean=lambda flags: flags / 2)
    assert due.due(SimpleNamespace(heard=True), sums) == {"asked"}
    assert due.due(QUIET, ALONE) == {"picture"}


def test_the_end_comes_when_the_seconds_are_over():
    time, due = clock(max_seconds=5)
    assert due.due(QUIET, ALONE) == {"report"}
    time.now = 5
    assert due.due(QUIET, ALONE) == {"end"}


def test_a_job_of_slurm_ends_by_the_clock_on_the_wall():
    wall = SimpleNamespace(now=1_000.0)
    job = Clock({}, None, job_ends=1_060.0, now=lambda: 0.0, wall=lambda: wall.now)
    assert job.due(QUIET, ALONE) == {"report"}
    assert job.due(QUIET, ALONE) == set()
    wall.now = 1_060.0
    assert job.due(QUIET, ALONE) == {"job"}


@pytest.mark.parametrize("told", ["", "soon", "-5", "1e9", "9" * 400, "1000"])
def test_an_end_of_the_job_that_is_none_or_over_is_not_believed(monkeypatch, told):
    monkeypatch.setenv("SLURM_JOB_END_TIME", told)
    assert end_of_job(90.0) is None


def test_the_margin_is_before_the_end_of_the_job(monkeypatch):
    ends = int(time.time()) + 10_000
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(ends))
    assert (end_of_job(90.0), end_of_job(None)) == (ends - 90.0, None)


def test_a_run_whose_job_ends_saves_and_asks_to_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(session, "end_of_job", lambda margin: time.time() + 0.5)
    assert train(tmp_path, **{"train.total_nimg": 800_000}) == 75
    assert "SLURM ends this job" in capsys.readouterr().err
    assert list((tmp_path / "run/checkpoints").glob("*/COMPLETE"))


def train(folder, **options):
    words = {
        "recipe.name": "gaussian", "data.path": "synthetic:gaussian", "run.dir": folder / "run",
        "train.total_nimg": 4096, "train.batch_size": 8, "train.log_every_nimg": 1024,
        "train.sample_every_nimg": 4096, "train.save_every_nimg": 4096,
    } | options  # fmt: skip
    return main([word for name, value in words.items() for word in (f"--{name}", str(value))])


def test_a_run_by_the_clock_has_the_bytes_of_one_without(tmp_path, capsys):
    """Also of one that ended when its time was over, and went on."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert train(tmp_path / "a") == 0
    often = dict.fromkeys(("log", "sample", "save"), 0.01)
    options = {f"train.{name}_every_minutes": minutes for name, minutes in often.items()}
    options |= {"train.keep_last": 100}
    capsys.readouterr()
    assert train(tmp_path / "b", **options, **{"train.max_seconds": 1.0}) == 0
    said = capsys.readouterr()
    assert "1 seconds are over: saved at" in said.out and "error" not in said.err
    assert "kimg 0.0/4.096" in said.out  # the first iteration
    assert train(tmp_path / "b", **options, **{"run.resume": "auto"}) == 0
    runs = [tmp_path / name / "run" for name in "ab"]
    assert len(list((runs[1] / "samples").glob("fakes*"))) > 2
    assert len(list((runs[1] / "checkpoints").iterdir())) > 2
    assert weights(runs[0]) == weights(runs[1])
    lines = [(run / "metrics.jsonl").read_text().splitlines() for run in runs]
    losses = [[without_time(json.loads(line)) for line in log] for log in lines]
    assert losses[0] == losses[1]


def weights(run: Path) -> list[bytes]:
    final = run / "checkpoints" / "000004096"
    return [path.read_bytes() for path in sorted(final.glob("*.safetensors"))]


def without_time(line: dict) -> dict:
    return {
        name: value
        for name, value in line.items()
        if not name.startswith(("speed/", "time/", "memory/"))
    }
