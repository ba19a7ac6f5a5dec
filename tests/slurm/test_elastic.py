"""A run that was stopped goes on with other nodes, other processes and other engines, as jobs of a
real SLURM: the numbers of one process that nobody disturbed.
"""

import shutil
from pathlib import Path

import pytest
import torch

from largegan import checkpoint
from tests.slurm import double
from tests.slurm.cluster import Job
from tests.slurm.training import (
    BATCH,
    IMAGES,
    MODULE,
    go_on,
    held,
    losses,
    options,
    submit,
    without_slurm,
)

WORDS = options(**{"data.workers": 0})
STOPPED_AT = (double.HOLD_AT + 1) * BATCH


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return without_slurm(tmp_path_factory.mktemp("undisturbed") / "one", 1)


def assert_same_training(run: Path, undisturbed: Path) -> None:
    """Losses and gradient norms of every step; weights, averages and moments at the end."""
    expected, got = losses(undisturbed), losses(run)
    assert [line["nimg"] for line in got] == list(range(BATCH, IMAGES + 1, BATCH))
    for want, line in zip(expected, got, strict=True):
        assert line == pytest.approx(want, rel=1e-5, abs=1e-5)
    want, found = (checkpoint.load(r / f"checkpoints/{IMAGES:09d}") for r in (undisturbed, run))
    for part in ("model", "optimizer"):
        wanted, tensors = getattr(want, part), getattr(found, part)
        assert wanted.keys() == tensors.keys()
        for key, value in wanted.items():
            torch.testing.assert_close(tensors[key], value, rtol=1e-5, atol=1e-5, msg=key)


def stopped(job: Job, *way: str) -> None:
    """In the middle of a step; the job saves itself, and ends."""
    held(job)
    job.signal(*way)
    go_on(job)
    state = job.end()
    assert f"saved at {STOPPED_AT} images" in job.said(), f"{state}: {job.report()}"


def went_on(job: Job, processes: int, engine: str, nimg: int) -> None:
    """To its end, at the first attempt, from where the run was."""
    job.complete()
    assert job.restarts() == 0, job.report()
    assert f"resuming from {job.run}/checkpoints/{nimg:09d}" in job.said(), job.report()
    assert f"{processes} process(es) on cpu, engine {engine}," in job.said(), job.report()


def test_a_cancelled_job_goes_on_alone(cluster, tmp_path, undisturbed):
    """Two nodes, then one process: `scancel JOB`, then sbatch with fewer nodes."""
    job = submit(cluster, tmp_path / "job", *WORDS, LAUNCHER="srun", PROCESSES=1)
    stopped(job)
    assert job.facts()["JobState"] == "CANCELLED" and job.restarts() == 0
    more = cluster.submit(job.run, *WORDS, MODULE=MODULE, PROCESSES=1, sbatch=("--nodes=1",))
    went_on(more, 1, "replicated", STOPPED_AT)
    assert_same_training(job.run, undisturbed)


@pytest.mark.slow  # 21 processes in six jobs
def test_two_nodes_go_on_in_any_size_under_any_engine(cluster, tmp_path, undisturbed):
    """2 x 2 ranks are stopped: on as 1 x 1, as 1 x 4, and from engine to engine as 2 x 2."""
    first = submit(cluster, tmp_path / "job", *WORDS, MAX_RESTARTS=0)
    stopped(first, "--batch", "--signal=USR1")
    assert first.facts()["JobState"] == "FAILED" and first.facts()["ExitCode"] == "75:0"
    assert first.restarts() == 0 and "restarted 0 times: giving up" in first.said()
    runs = {name: tmp_path / name for name in ("alone", "four", "moved")}
    for run in runs.values():
        shutil.copytree(first.run, run)
    one_node = {"sbatch": ("--nodes=1",), "MODULE": MODULE}
    alone = cluster.submit(runs["alone"], *WORDS, **one_node, PROCESSES=1)
    four = cluster.submit(runs["four"], *WORDS, **one_node, PROCESSES=4)
    went_on(alone, 1, "replicated", STOPPED_AT)
    went_on(four, 4, "replicated", STOPPED_AT)
    nimg = STOPPED_AT
    for engine, until in (("zero1", 16 * BATCH), ("fsdp2", 20 * BATCH), ("replicated", IMAGES)):
        words = (*WORDS, "--parallel.engine", engine, "--train.total_nimg", str(until))
        went_on(cluster.submit(runs["moved"], *words, MODULE=MODULE), 4, engine, nimg)
        nimg = until
    for run in runs.values():
        assert_same_training(run, undisturbed)
