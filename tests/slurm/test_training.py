"""Real training through slurm/train.sbatch: the numbers of one process, and the same bytes after
whatever happens to the job.
"""

import filecmp
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from largegan import checkpoint
from tests import forked
from tests.parallel.launching import ROOT, free_port
from tests.slurm import double
from tests.slurm.cluster import Cluster, Job
from tests.slurm.conftest import open_cluster

ITERATIONS, BATCH, SAVE_EVERY = 24, 8, 8
IMAGES = ITERATIONS * BATCH
MODULE = "tests.slurm.double"
TERMS = ("/real", "/fake", "/adv", "/pl", "/r1", "/grad_norm")

OPTIONS = {
    "recipe.name": "double",
    "data.path": "bundled:noto32",
    "data.resize": 16,
    "train.total_nimg": IMAGES,
    "train.batch_size": BATCH,
    "train.micro_batch_size": 2,
    "train.log_every_nimg": BATCH,
    "train.save_every_nimg": SAVE_EVERY * BATCH,
    "train.sample_every_nimg": 10**6,
    "train.sample_rows": 2,
    "train.cpu_threads": 1,
}


def options(**more) -> list[str]:
    """Every iteration is logged, every eighth is saved."""
    return [word for k, v in (OPTIONS | more).items() for word in (f"--{k}", str(v))]


def without_slurm(run: Path, world: int, *extra: str) -> Path:
    """The same training, undisturbed, as `world` processes of this machine."""
    port, ranks = str(free_port()), []
    for rank in range(world):
        env = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        env = {k: str(v) for k, v in env.items()} if world > 1 else {}
        words = [*options(**{"data.workers": 0}), "--run.dir", str(run), *extra]
        log = str(run.with_suffix(f".{rank}.log"))
        ranks.append(forked.CONTEXT.Process(target=double.program, args=(words, log, env)))
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(900)
    assert all(p.exitcode == 0 for p in ranks), run.with_suffix(".0.log").read_text()
    return run


def losses(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in x.items() if k == "nimg" or k.endswith(TERMS)} for x in lines]


def same_bytes(run: Path, other: Path) -> None:
    for file in (checkpoint.MODEL, checkpoint.OPTIMIZER):
        a, b = (folder / f"checkpoints/{IMAGES:09d}" / file for folder in (run, other))
        assert filecmp.cmp(a, b, shallow=False), f"{file} differs"


def submit(cluster: Cluster, folder: Path, *words: str, **settings) -> Job:
    """A job that will stand still in the middle of an iteration; see `double.hold`."""
    folder.mkdir()
    return cluster.submit(folder / "run", *words, MODULE=MODULE, HOLD=folder, **settings)


def held(job: Job) -> tuple[str, str]:
    """Waits until the job stands still; node and process of the rank that the others wait for."""
    file = job.run.with_name("held")
    job.until(file.exists)
    node, pid = file.read_text().split()
    return node, pid


def go_on(job: Job) -> None:
    job.run.with_name("go").touch()


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
    assert f"saved at {(double.HOLD_AT + 1) * BATCH} images" in said and "Traceback" not in said
    assert "4 process(es) on cpu" in said
    expected, got = losses(one), losses(job.run)
    assert [line["nimg"] for line in got] == list(range(BATCH, IMAGES + 1, BATCH))
    assert any("D.r1/r1" in line and "G.path_length/pl" in line for line in got)
    for want, line in zip(expected, got, strict=True):
        assert line == pytest.approx(want, rel=1e-5, abs=1e-5)
    same_bytes(job.run, four)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    return without_slurm(tmp_path_factory.mktemp("undisturbed") / "two", 2)


@pytest.fixture(scope="module")
def spare():
    """Nodes enough for two jobs at a time, and to go on when some are lost."""
    made = open_cluster(6, "pgid", "spare")
    yield made
    made.close()


def kill_a_rank(job: Job, node: str, pid: str) -> None:
    job.cluster.manage("exec", node, "kill", "-9", pid)


def power_off(job: Job, node: str, pid: str) -> None:
    job.cluster.manage("node-kill", node)


def cut_the_network(job: Job, node: str, pid: str) -> None:
    """All processes live on, and the one that was waited for goes on."""
    job.cluster.manage("link", node, "down")
    go_on(job)


def stop_a_rank(job: Job, node: str, pid: str) -> None:
    """It is there and does nothing: no connection breaks, nobody is told."""
    job.cluster.manage("exec", node, "kill", "-STOP", pid)


REPAIR: dict[Callable, tuple[str, ...]] = {
    power_off: ("node-start", "{node}"),
    cut_the_network: ("link", "{node}", "up"),
}


@pytest.mark.parametrize(
    "faults",
    [(kill_a_rank, power_off), pytest.param((cut_the_network, stop_a_rank), marks=slow)],
    ids=lambda faults: " ".join(fault.__name__ for fault in faults),
)
def test_after_a_fault_the_job_ends_by_itself_with_the_same_bytes(
    spare, faults, two_ranks, tmp_path
):
    """In mid-step; nobody repairs anything. Two ranks on two nodes; the jobs run together."""
    words = options(**{"data.workers": 0, "parallel.timeout_s": 60})
    settings = {"LAUNCHER": "srun", "PROCESSES": 1, "sbatch": ("--exclusive",)}
    jobs = {f: submit(spare, tmp_path / f.__name__, *words, **settings) for f in faults}
    places = {}
    try:
        for fault, job in jobs.items():
            places[fault] = held(job)
            fault(job, *places[fault])
        for fault, job in jobs.items():
            job.complete()
            assert job.restarts() == 1 and "resuming from" in job.said(), job.report()
            same_bytes(job.run, two_ranks)
            if fault is stop_a_rank:
                node, pid = places[fault]
                assert f"rank 1 (process {pid} on {node}) is stopped or gone" in job.said()
    finally:
        for fault in places.keys() & REPAIR.keys():
            spare.manage(*(word.format(node=places[fault][0]) for word in REPAIR[fault]))


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
