"""Real training through slurm/train.sbatch: the numbers of one process, and the same bytes after
whatever happens to the job.
"""

import filecmp
import json
from pathlib import Path

import pytest

from largegan import checkpoint
from tests import forked
from tests.parallel.launching import free_port
from tests.slurm import double
from tests.slurm.cluster import Job
from tests.slurm.conftest import open_cluster
from tests.test_resume import arguments

pytestmark = pytest.mark.slow
IMAGES = 320  # 40 iterations
ENGINES = ["replicated"]


def options(**more) -> list[str]:
    """Forty iterations; every one is logged, every tenth is saved."""
    settings = {
        "train.micro_batch_size": 2,
        "train.log_every_nimg": 8,
        "train.save_every_nimg": 80,
        "train.sample_every_nimg": 10**6,
        **more,
    }
    words = arguments("double", Path("unused"), IMAGES, **settings)
    at = words.index("--run.dir")
    return words[:at] + words[at + 2 :]


def without_slurm(run: Path, world: int, *extra: str) -> Path:
    """The same training, undisturbed, as `world` processes of this machine."""
    port, ranks = str(free_port()), []
    for rank in range(world):
        env = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        env = {k: str(v) for k, v in env.items()} if world > 1 else {}
        words = [*options(), "--run.dir", str(run), *extra]
        log = str(run.with_suffix(f".{rank}.log"))
        ranks.append(forked.CONTEXT.Process(target=double.program, args=(words, log, env)))
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(300)
    assert all(p.exitcode == 0 for p in ranks), run.with_suffix(".0.log").read_text()
    return run


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    return without_slurm(tmp_path_factory.mktemp("undisturbed") / "two", 2)


@pytest.fixture(scope="module")
def spare():
    """More nodes than a job needs: when one is lost, there is another to go on with."""
    made = open_cluster(3, "pgid", "spare")
    yield made
    made.close()


def losses(run: Path) -> list[dict]:
    if not (run / "metrics.jsonl").exists():
        return []
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in line.items() if k.endswith(("nimg", "/adv", "/r1"))} for line in lines
    ]


def same_bytes(run: Path, other: Path) -> None:
    for file in (checkpoint.MODEL, checkpoint.OPTIMIZER):
        a, b = (folder / f"checkpoints/{IMAGES:09d}" / file for folder in (run, other))
        assert filecmp.cmp(a, b, shallow=False), f"{file} differs"


def saved(job: Job, nimg: int = 80) -> bool:
    found, _ = checkpoint.newest(job.run / "checkpoints")
    return found is not None and int(found.name) >= nimg


@pytest.mark.parametrize("engine", ENGINES)
def test_two_nodes_are_one_process_also_when_preempted(cluster, engine, tmp_path):
    """Real accelerate, 2 x 2 ranks, a signal on the way: losses of one process, step by step."""
    settings = {"MODULE": "tests.slurm.double", "LAUNCHER": "accelerate"}
    words = [*options(**{"data.workers": 1}), "--parallel.engine", engine]
    job = cluster.submit(tmp_path / "job", *words, **settings)
    job.until(lambda: len(losses(job.run)) >= 5)
    job.signal("--batch", "--signal=USR1")
    one = without_slurm(tmp_path / "one", 1)  # while the job is on its way back
    four = without_slurm(tmp_path / "four", 4, "--parallel.engine", engine)
    job.complete()
    assert job.restarts() == 1 and "resuming from" in job.said(), job.report()
    assert "4 process(es) on cpu" in job.said()
    expected, got = losses(one), losses(job.run)
    assert [line["nimg"] for line in got] == list(range(8, IMAGES + 1, 8))
    assert any("D.r1/r1" in line for line in got)
    for want, line in zip(expected, got, strict=True):
        assert line == pytest.approx(want, rel=1e-5, abs=1e-5)
    same_bytes(job.run, four)


def pids(job: Job, node: str) -> list[int]:
    """The training processes of a job on a node, in the node's own numbers."""
    found = job.cluster.manage("exec", node, "pgrep", "-f", f"python.*run.dir {job.run} ")
    return [int(pid) for pid in found.split()]


def second_node(job: Job) -> str:
    hosts = job.cluster.client("scontrol", "show", "hostnames", job.facts()["NodeList"])
    return hosts.split()[1]


def kill_a_rank(job: Job) -> None:
    for pid in pids(job, second_node(job)):
        job.cluster.manage("exec", second_node(job), "kill", "-9", str(pid))


def power_off(job: Job) -> None:
    job.cluster.manage("node-kill", second_node(job))


def cut_the_network(job: Job) -> None:
    job.cluster.manage("link", second_node(job), "down")


def stop_a_rank(job: Job) -> None:
    """It is there and does nothing: no connection breaks, nobody is told."""
    for pid in pids(job, second_node(job)):
        job.cluster.manage("exec", second_node(job), "kill", "-STOP", str(pid))


FAULTS = [
    kill_a_rank,
    pytest.param(power_off, marks=pytest.mark.slow),
    pytest.param(cut_the_network, marks=pytest.mark.slow),
    pytest.param(stop_a_rank, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_after_a_fault_the_job_ends_by_itself_with_the_same_bytes(
    spare, fault, two_ranks, tmp_path
):
    """In the middle of a step; nobody repairs anything; two ranks, one on each of two nodes."""
    settings = {"MODULE": "tests.slurm.double", "LAUNCHER": "srun", "PROCESSES": 1}
    words = [*options(), "--parallel.timeout_s", "30"]
    job = spare.submit(tmp_path / "job", *words, **settings)
    job.until(lambda: saved(job))
    lost = second_node(job)
    fault(job)
    try:
        job.complete(400)
        assert job.restarts() >= 1 and "resuming from" in job.said(), job.report()
        if fault is stop_a_rank:
            assert "error: waited 30 s" in job.said() and "is stopped or gone" in job.said()
        same_bytes(job.run, two_ranks)
    finally:
        repair(spare, fault, lost)


def repair(cluster, fault, node: str) -> None:
    if fault is power_off:
        cluster.manage("node-start", node)
    if fault is cut_the_network:
        cluster.manage("link", node, "up")


@pytest.mark.slow
def test_a_run_directory_on_one_nodes_own_disk_is_refused(cluster, tmp_path):
    """The other node is named; nothing is trained, and nothing is requeued for ever."""
    folder = cluster.dir / "local/run"
    settings = {"MODULE": "tests.slurm.double", "LAUNCHER": "srun", "PROCESSES": 1}
    job = cluster.submit(tmp_path / "job", *options(), **settings, RUN=folder, MAX_FAILURES=1)
    assert job.end() == "FAILED"
    assert f"run directory {folder} is not shared: node2 cannot see" in job.said(), job.report()


@pytest.mark.slow
def test_two_runs_in_one_directory_are_refused(cluster, tmp_path):
    """The second job is told who has it, and the first one is not disturbed."""
    settings = {"MODULE": "tests.slurm.double", "LAUNCHER": "srun", "MAX_FAILURES": 1}
    endless = [*options(), "--train.total_nimg", str(10**6)]
    first = cluster.submit(tmp_path / "job", *endless, **settings)
    first.until(lambda: saved(first))
    second = cluster.submit(tmp_path / "job", *endless, **settings, PROCESSES=1)
    assert second.end() == "FAILED"
    assert f"is being written by another run (job {first.number}, process" in second.said()
    assert first.facts()["JobState"] == "RUNNING"
    first.signal()
    assert first.end() == "CANCELLED"
