"""slurm/*.sbatch on a real SLURM, with stand-ins for training: who gets which signal, what then.

The jobs run at the same time: most of what they do is wait for SLURM.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.parallel.launching import ROOT
from tests.slurm.cluster import Job

LAUNCHERS = ("accelerate", "torchrun", "srun")
WAYS = {
    "to the script": ("--batch", "--signal=USR1"),  # what #SBATCH --signal=B:USR1@180 does
    "to the tasks": ("--signal=USR1",),
    "TERM to the tasks": ("--signal=TERM",),  # preemption at sites that send no warning
}


@pytest.fixture
def start(cluster, tmp_path):
    """Submits a job of stand-ins: start(NAME, OPTION, ..., SETTING=...)."""

    def submit(name: str, *options: str, on=cluster, **settings) -> Job:
        settings = {"LAUNCHER": "torchrun"} | settings
        return on.submit(tmp_path / name, *options, MODULE="tests.slurm.standin", **settings)

    return submit


def running(job: Job) -> None:
    """Waits until all four ranks of the present start run."""
    job.until(lambda: len(job.events("start")) == 4 * (job.restarts() + 1))


@pytest.mark.parametrize("script", ["train.sbatch", "eval.sbatch"])
def test_slurm_accepts_the_scripts_as_they_are(cluster, script):
    words = ["sbatch", "--test-only", ROOT / "slurm" / script]
    done = subprocess.run(words, env=cluster.env, capture_output=True, text=True)
    assert done.returncode == 0 and "to start at" in done.stderr, done.stderr


@pytest.mark.parametrize("tracking", ["cluster", "tree_cluster"])
def test_signals_reach_the_ranks_and_the_job_goes_on(tracking, start, request):
    """Through every launcher: all ranks save and leave with 75, the job continues and completes."""
    on = request.getfixturevalue(tracking)
    jobs = {
        (launcher, way): start(f"{launcher} {way}", "--restarts", "1", on=on, LAUNCHER=launcher)
        for launcher in LAUNCHERS
        for way in WAYS
    }
    for (_, way), job in jobs.items():
        running(job)
        job.signal(*WAYS[way])
    for case, job in jobs.items():
        job.complete()
        saved, begun, done = (job.events(what) for what in ("saved", "start", "done"))
        assert len(saved) == len(done) == 4, f"{case}: {job.report()}"
        assert all(e["signals"] for e in saved), f"{case}: a rank heard nothing: {saved}"
        assert job.restarts() == 1 and "requeueing (saved: " in job.said(), job.report()
        resumed = [e["step"] for e in begun if e["start"] == 1 and e["rank"] == 0]
        assert resumed == [e["step"] for e in saved if e["rank"] == 0], case
        assert (job.run / "DONE").exists(), case


def test_what_is_requeued_and_how_often(start):
    """75 and lost ranks, up to a cap; not what would fail again; not what was cancelled."""
    stopped = start("stopped", "--fail", "75", MAX_RESTARTS=1)
    failing = start("failing", "--fail", "4", MAX_FAILURES=2)
    wrong = start("wrong", "--fail", "2")
    damaged = start("damaged", "--fail", "3", LAUNCHER="srun")
    cancelled = start("cancelled", "--restarts", "1")
    killed = start("killed", "--restarts", "1")
    running(cancelled)
    cancelled.signal()
    running(killed)
    pid = killed.events("start")[3]["pid"]
    killed.cluster.manage("exec", killed.events("start")[3]["host"], "kill", "-9", str(pid))

    assert cancelled.end() == "CANCELLED" and cancelled.restarts() == 0
    assert cancelled.events("saved"), "it was told, and saved"
    assert stopped.end() == "FAILED" and stopped.restarts() == 1
    assert "restarted 1 times: giving up" in stopped.said()
    assert stopped.facts()["ExitCode"] == "75:0"
    assert failing.end() == "FAILED" and failing.restarts() == 1
    assert "failed 2 times at nothing (exit code 4): giving up" in failing.said()
    for job, code in ((wrong, 2), (damaged, 3)):
        assert job.end() == "FAILED" and job.restarts() == 0, job.report()
        assert job.facts()["ExitCode"] == f"{code}:0"
        assert f"exit code {code}: starting again would not help" in job.said()
    killed.complete()
    assert killed.restarts() == 1


def test_preempted_by_another_job(start, cluster):
    """The urgent job starts; the other one has saved itself, comes back, and completes."""
    job = start("low", "--restarts", "1", sbatch=("--partition=low", "--exclusive"))
    running(job)
    words = ("--partition=urgent", "--nodes=3", "--exclusive", "--output=/dev/null")
    urgent = cluster.client("sbatch", "--parsable", *words, "--wrap=true").strip()
    job.complete()
    assert "asked to stop" in job.said() and len(job.events("saved")) == 4
    assert "JobState=COMPLETED" in cluster.client("scontrol", "-o", "show", "job", urgent)


def test_a_sweep_is_one_line_of_options_per_job(start, tmp_path):
    """Each has its own run directory, and one that is stopped comes back alone."""
    table = tmp_path / "sweep.txt"
    table.write_text("# two jobs\n\n--train.seed 1 --recipe.lr 1e-4\n--train.seed 2\n")
    array = start("sweep", sbatch=("--array=1-2%2",), SWEEP=table)
    seeds = []
    for task in (1, 2):
        run = tmp_path / f"sweep-{task}"
        job = Job(array.cluster, f"{array.number}_{task}", run, array.log)
        job.complete()
        words = job.events("start")[0]["options"]
        seeds.append(words[words.index("--train.seed") + 1])
    assert seeds == ["1", "2"]


def test_one_job_of_an_array_comes_back_alone(start, tmp_path):
    """The array's last job has the array's own number: requeueing that would restart all."""
    array = start("array", "--restarts", "1", sbatch=("--array=1-2",))
    jobs = [
        Job(array.cluster, f"{array.number}_{task}", tmp_path / f"array-{task}", array.log)
        for task in (1, 2)
    ]
    for job in jobs:
        job.until(lambda job=job: len(job.events("start")) == 4)
    jobs[1].signal("--batch", "--signal=USR1")
    jobs[1].complete()
    assert jobs[0].restarts() == 0 and jobs[0].facts()["JobState"] == "RUNNING"
    jobs[0].signal("--batch", "--signal=USR1")
    jobs[0].complete()
    assert [job.restarts() for job in jobs] == [1, 1]


def test_a_signal_before_training_begins(start, tmp_path):
    """While the environment is set up or shards are copied, which takes minutes: back it goes."""
    slow = tmp_path / "venv/bin"
    slow.mkdir(parents=True)
    wait = "touch $HOLD/here; while [[ ! -e $HOLD/go ]]; do sleep 0.05; done"
    (slow / "activate").write_text(wait)
    job = start("early", VENV=slow.parent, HOLD=tmp_path)
    job.until((tmp_path / "here").exists)
    job.signal("--batch", "--signal=USR1")
    (tmp_path / "go").touch()
    job.complete()
    assert job.restarts() == 1 and "asked to stop before training began" in job.said()


def test_without_a_name_every_job_is_a_run_of_its_own(start, tmp_path):
    """Two experiments of somebody who forgot RUN are not one; an option cannot contradict it."""
    job = start("unnamed", RUN="", CLONE=clone(tmp_path))
    job.complete()
    assert (tmp_path / f"clone/runs/largegan-{job.number}/DONE").exists(), job.report()
    other = start("other", "--run.dir", "runs/mine")
    assert other.end() == "FAILED" and "RUN=DIR sbatch ... instead of --run.dir" in other.said()


def clone(tmp_path: Path) -> Path:
    """What a person has who follows docs/cluster.md, with a stand-in for the tool that scores."""
    folder = tmp_path / "clone"
    (folder / "tools").mkdir(parents=True)
    for name in ("slurm", "largegan", "tests", "configs"):
        (folder / name).symlink_to(ROOT / name)
    write = "import sys; open(sys.argv[sys.argv.index('--json') + 1], 'w').write(str(sys.argv[1:]))"
    (folder / "tools/fid.py").write_text(write)
    return folder


def test_the_commands_of_the_readme(cluster, tmp_path):
    """One after the other, as they stand there: submit, watch, preempt, stop, sweep, score."""
    section = (ROOT / "docs/cluster.md").read_text().split("```")[1]
    folder, jobs = clone(tmp_path), []
    (folder / "data/mine").mkdir(parents=True)
    path = f"{ROOT}/tests/slurm/bin:{Path(sys.executable).parent}:{cluster.env['PATH']}"
    env = cluster.env | {"PATH": path, "MODULE": "tests.slurm.standin", "VENV": "none"}
    env |= {"TMPDIR": str(cluster.dir / "local"), "STANDIN_RESTARTS": "9"}  # goes on until stopped
    for line in section.splitlines()[1:]:
        job = jobs[-1] if jobs else None
        words = line.split("  #")[0].rstrip().replace("FILE", "configs/quickstart.yaml")
        words = words.replace("JOB", job.number if job else "").replace("tail -f", "tail -n 1")
        done = subprocess.run(
            ["bash", "-c", words], env=env, cwd=folder, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        if "sbatch " in words and words[:2] != "cp":
            number = done.stdout.split()[-1]
            run = folder / words.split()[0].removeprefix("RUN=")
            jobs.append(Job(cluster, number, run, folder / f"largegan-{number}.out"))
        if len(jobs) == 1:
            watch(jobs[0], words)
        if line.startswith("scancel JOB"):
            env["STANDIN_RESTARTS"] = "0"
    for job in jobs[1:]:
        job.complete()
    assert len(jobs) == 5
    names = {marker.parent.name for marker in folder.glob("runs/*/DONE")}
    assert names == {"mine", f"largegan-{jobs[2].number}", *(f"sweep-{i}" for i in (1, 2, 3, 4))}
    (scores,) = folder.glob("runs/mine/fid-*.json")
    assert scores.read_text().startswith("['data/mine', 'runs/mine', '--json'")


def watch(job: Job, words: str) -> None:
    """What a person sees after each command about the first job."""
    if "sbatch " in words:
        job.until(lambda: job.log.exists() and job.events("start"))
    elif "--batch" in words:
        job.until(lambda: len(job.events("start")) == 2)
        assert len(job.events("saved")) == 1
    elif "scancel" in words:
        assert job.end() == "CANCELLED" and len(job.events("saved")) == 2


def test_shards_are_copied_to_every_node_and_removed(start, cluster, tmp_path):
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "a.tar").write_text("a")
    here = cluster.dir / "local"
    job = start("staged", STAGE=shards, TMPDIR=here)
    job.complete()
    assert {tuple(e["data"]) for e in job.events("start")} == {
        ("node1", "a.tar"),
        ("node2", "a.tar"),
    }
    for node in ("node1", "node2"):
        assert "largegan" not in cluster.manage("exec", node, "ls", str(here))


def test_an_environment_that_sbatch_hides_is_rebuilt(start, tmp_path):
    """`sbatch --export=NONE` at sites that recommend it: srun's tasks have what the script sets."""
    names = "--export=RUN,LAUNCHER,MODULE,PROCESSES,VENV,PATH,PYTHONPATH"
    job = start("hidden", sbatch=(names,))
    job.complete()
    env = job.events("start")[0]["env"]
    assert env["NCCL_DEBUG"] == "WARN" and env["MASTER_ADDR"] == "node1"


def test_a_complete_run_ends_at_once(start):
    first = start("run")
    first.complete()
    again = start("run")
    again.complete()
    assert "is complete" in again.said() and len(first.events("start")) == 4


def test_ports_and_launchers_that_cannot_work_are_refused(start, cluster):
    """A port that somebody uses is passed over, or named when it was asked for."""
    taken = subprocess.Popen(
        [cluster_script(), "exec", "node1", "python3", "-m", "http.server", "25001"],
        env=cluster.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        free = start("free")
        free.complete()
        port = start("port", MASTER_PORT=25001)
        assert port.end() == "FAILED" and "port 25001 of node1 is taken" in port.said()
    finally:
        taken.kill()
    other = start("other", LAUNCHER="mpirun")
    assert other.end() == "FAILED"
    assert "LAUNCHER=mpirun is none of accelerate, torchrun, srun" in other.said()


def cluster_script() -> Path:
    return ROOT / "tests/slurm/slurm_cluster.sh"
