"""Real training through slurm/train.sbatch: the numbers of one process, and the same bytes after
whatever happens to the job.
"""

import subprocess
import sys

import pytest

from tests.parallel.launching import ROOT
from tests.recipes.common import TINY
from tests.slurm import double
from tests.slurm.cluster import Job
from tests.slurm.conftest import open_cluster
from tests.slurm.training import (
    BATCH,
    IMAGES,
    MODULE,
    SAVE_EVERY,
    go_on,
    held,
    losses,
    options,
    same_bytes,
    submit,
    without_slurm,
)

slow = pytest.mark.slow  # 20 s of CPU time for each start of four ranks, two starts each


@pytest.mark.parametrize(
    ("engine", "launcher", "tracking", "way"),
    [
        ("replicated", "accelerate", "cluster", ("--batch", "--signal=USR1")),
        pytest.param("replicated", "torchrun", "tree_cluster", ("--signal=TERM",), marks=slow),
        pytest.param("replicated", "srun", "tree_cluster", ("--signal=USR1",), marks=slow),
        pytest.param("zero1", "accelerate", "cluster", ("--signal=USR1",), marks=slow),
        pytest.param("zero2", "torchrun", "cluster", ("--batch", "--signal=USR1"), marks=slow),
        pytest.param("fsdp2", "srun", "cluster", ("--batch", "--signal=USR1"), marks=slow),
    ],
)
def test_two_nodes_are_one_process_also_when_preempted(
    engine, launcher, tracking, way, request, tmp_path
):
    """2 x 2 ranks, a signal in mid-step: losses of one process, and bytes of four, step by step."""
    cluster = request.getfixturevalue(tracking)
    parallel = ("--parallel.engine", engine) if engine != "replicated" else ()
    words = (*options(**{"data.workers": 1}), *parallel)
    job = submit(cluster, tmp_path / "job", *words, LAUNCHER=launcher)
    one = without_slurm(tmp_path / "one", 1)  # while the job is on its way
    four = without_slurm(tmp_path / "four", 4, *parallel)
    held(job)
    job.signal(*way)
    go_on(job)
    job.complete()
    said = job.said()
    assert job.restarts() == 1 and f"resuming from {job.run}" in said, job.report()
    assert f"saved at {(double.HOLD_AT + 1) * BATCH} images" in said and not job.crashed()
    assert "4 process(es) on cpu" in said
    expected, got = losses(one), losses(job.run)
    assert [line["nimg"] for line in got] == list(range(BATCH, IMAGES + 1, BATCH))
    assert any("D.r1/r1" in line and "G.path_length/pl" in line for line in got)
    for want, line in zip(expected, got, strict=True):
        assert line == pytest.approx(want, rel=1e-5, abs=1e-5)
    same_bytes(job.run, four)


NETWORKS = {
    "stylegan2": {"r1_every": 4},
    "biggan": {},
    "cyclegan": {"data.path_b": "bundled:noto32"},
}


@slow
@pytest.mark.parametrize("engine", ["zero2", "fsdp2"])
@pytest.mark.parametrize("name", NETWORKS)
def test_published_networks_that_are_shared_out_are_preempted(cluster, name, engine, tmp_path):
    """2 x 2 ranks, a signal in mid-step, another start: the bytes of four undisturbed ranks."""
    words = options(**recipe_words(name), **{"parallel.engine": engine})
    job = submit(cluster, tmp_path / "job", *words, LAUNCHER="torchrun")
    four = without_slurm(tmp_path / "four", 4, *words)
    held(job)
    job.signal("--batch", "--signal=USR1")
    go_on(job)
    job.complete()
    assert job.restarts() == 1 and f"resuming from {job.run}" in job.said(), job.report()
    same_bytes(job.run, four)


def recipe_words(name: str) -> dict[str, object]:
    """The options of a small recipe of the table, and the data it needs."""
    given = TINY[name] | NETWORKS[name]
    words = {k if k.startswith("data.") else f"recipe.{k}": v for k, v in given.items()}
    return {"recipe.name": name, **words}


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    return without_slurm(tmp_path_factory.mktemp("undisturbed") / "two", 2)


@pytest.fixture(scope="module")
def spare():
    """Nodes enough for two jobs at a time, and to go on when some are lost."""
    made = open_cluster(6, "pgid", "spare")
    yield made
    made.close()


Repair = tuple[str, ...] | None


def kill_a_rank(job: Job, node: str, pid: str) -> Repair:
    job.cluster.manage("exec", node, "kill", "-9", pid)


def power_off(job: Job, node: str, pid: str) -> Repair:
    job.cluster.manage("node-kill", node)
    return "node-start", node


def power_off_the_first(job: Job, node: str, pid: str) -> Repair:
    """With it go rank 0, the place where ranks meet, srun, and the batch script itself."""
    first = job.facts()["BatchHost"]
    assert first != node
    job.cluster.manage("node-kill", first)
    go_on(job)
    return "node-start", first


def cut_the_network(job: Job, node: str, pid: str) -> Repair:
    """All processes live on, and the one that was waited for goes on."""
    job.cluster.manage("link", node, "down")
    go_on(job)
    return "link", node, "up"


def stop_a_rank(job: Job, node: str, pid: str) -> Repair:
    """It is there and does nothing: no connection breaks, nobody is told."""
    job.cluster.manage("exec", node, "kill", "-STOP", pid)


@pytest.mark.parametrize(
    "faults",
    [
        (kill_a_rank, power_off),
        pytest.param((cut_the_network, stop_a_rank), marks=slow),
        pytest.param((power_off_the_first,), marks=slow),
    ],
    ids=lambda faults: " ".join(fault.__name__ for fault in faults),
)
def test_after_a_fault_the_job_ends_by_itself_with_the_same_bytes(
    spare, faults, two_ranks, tmp_path
):
    """In mid-step; nobody repairs anything. Two ranks on two nodes; the jobs run together."""
    words = options(**{"data.workers": 0, "parallel.timeout_s": 60})
    settings = {"LAUNCHER": "srun", "PROCESSES": 1, "sbatch": ("--exclusive",)}
    jobs = {f: submit(spare, tmp_path / f.__name__, *words, **settings) for f in faults}
    places, repairs = {}, []
    try:
        for fault, job in jobs.items():
            places[fault] = held(job)
            repairs.append(fault(job, *places[fault]))
        for fault, job in jobs.items():
            job.complete()
            assert job.restarts() == 1 and "resuming from" in job.said(), job.report()
            same_bytes(job.run, two_ranks)
            if fault is stop_a_rank:
                node, pid = places[fault]
                assert f"rank 1 (process {pid} on {node}) is stopped or gone" in job.said()
    finally:
        for repair in filter(None, repairs):
            spare.manage(*repair)


@slow  # five starts of one process
def test_what_always_fails_or_is_always_stopped_ends(cluster, tmp_path):
    """Real training on one node: killed at the same step each time; told to stop each time."""
    settings = {"PROCESSES": 1, "sbatch": ("--nodes=1",), "MODULE": MODULE}
    words = options(**{"data.workers": 0})
    killed = cluster.submit(tmp_path / "killed", *words, **settings, TROUBLE=9, MAX_FAILURES=2)
    told = cluster.submit(tmp_path / "told", *words, **settings, TROUBLE=10, MAX_RESTARTS=2)
    assert killed.end() == "FAILED" and killed.restarts() == 1, killed.report()
    assert killed.facts()["ExitCode"] == "137:0"
    here = f"{SAVE_EVERY * BATCH:09d}"
    assert f"requeueing (exit code 137, failure 1 at {here})" in killed.said()
    assert f"failed 2 times at {here} (exit code 137): giving up" in killed.said()
    assert told.end() == "FAILED" and told.restarts() == 2, told.report()
    assert told.facts()["ExitCode"] == "75:0"
    assert "restarted 2 times: giving up" in told.said()
    assert f"saved at {(double.HOLD_AT + 3) * BATCH} images" in told.said()
    for job in (killed, told):
        assert not (job.run / "DONE").exists() and not job.crashed()


@slow  # a minute of patience: network file systems show files late
def test_a_run_directory_on_one_nodes_own_disk_is_refused(cluster, tmp_path):
    """The other node is named; nothing is trained, and nothing is requeued for ever."""
    folder = cluster.dir / "local/run"
    settings = {"MODULE": MODULE, "LAUNCHER": "srun", "PROCESSES": 1, "MAX_FAILURES": 1}
    job = cluster.submit(tmp_path / "job", *options(), **settings, RUN=folder)
    assert job.end() == "FAILED" and job.restarts() == 0
    assert job.facts()["ExitCode"] == "4:0"
    assert f"run directory {folder} is not shared: node2 cannot see" in job.said(), job.report()


@slow  # two processes that import torch
def test_fewer_processes_than_asked_for_are_refused(cluster, tmp_path):
    """Bare srun, no script: somebody forgot half of the tasks."""
    words = ["srun", "--nodes=2", "--ntasks=2", sys.executable, "-m", "largegan.train"]
    words += [*options(**{"recipe.name": "gan", "parallel.processes": 4})]
    words += ["--run.dir", str(tmp_path / "run")]
    done = subprocess.run(words, env=cluster.env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 4, done.stderr
    said = "error: --parallel.processes asks for 4 processes but this process group has 2"
    assert said in done.stderr and not (tmp_path / "run").exists()


@slow  # two trainings, half a minute
def test_two_runs_in_one_directory_are_refused(cluster, tmp_path):
    """The second job is told who has it, and the first one is not disturbed."""
    settings = {"LAUNCHER": "srun", "MAX_FAILURES": 1, "PROCESSES": 1}
    first = submit(cluster, tmp_path / "job", *options(), **settings)
    held(first)
    second = cluster.submit(first.run, *options(), MODULE=MODULE, **settings)
    assert second.end() == "FAILED" and second.facts()["ExitCode"] == "4:0"
    assert f"is being written by another run (job {first.number}, process" in second.said()
    go_on(first)
    first.complete()
