"""Who am I among how many: every lie a launcher can tell is refused in one sentence."""

import signal
import socket
import subprocess
import sys
import tarfile
import time

import pytest
import torch

from largegan.errors import EnvironmentFault
from largegan.parallel import launch
from largegan.parallel.launch import (
    World,
    adopt_slurm,
    agree,
    check_size,
    contact,
    refuse_lonely,
)
from tests import forked
from tests.parallel.launching import (
    ROOT,
    clean_environment,
    finish,
    free_port,
    patience,
    run_ranks,
)

TRAIN = ["-m", "largegan.train", "--recipe.name", "gan", "--recipe.width", "8"]
QUICK = [*TRAIN, "--data.workers", "0", "--train.total_nimg", "16", "--train.batch_size", "8"]


def test_accelerate_that_started_one_of_several_is_refused():
    env = {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    with pytest.raises(EnvironmentFault, match=r"started only this one .*--multi_gpu"):
        refuse_lonely(env)
    refuse_lonely(env | {"WORLD_SIZE": "2"})
    refuse_lonely({"ACCELERATE_MIXED_PRECISION": "no"})


@pytest.mark.parametrize(
    ("env", "processes", "source"),
    [
        ({"WORLD_SIZE": "2"}, None, "WORLD_SIZE asks for 2"),
        ({"SLURM_STEP_NUM_TASKS": "4"}, None, "SLURM_STEP_NUM_TASKS asks for 4"),
        ({"OMPI_COMM_WORLD_SIZE": "3"}, None, "OMPI_COMM_WORLD_SIZE asks for 3"),
        ({}, 8, "--parallel.processes asks for 8"),
    ],
)
def test_every_claim_is_compared(env, processes, source):
    with pytest.raises(EnvironmentFault, match=source):
        check_size(1, env, processes)


def test_launchers_per_node_are_not_ranks():
    """srun starts one torchrun per node; each starts more ranks than srun knows of."""
    check_size(8, {"TORCHELASTIC_RUN_ID": "x", "SLURM_STEP_NUM_TASKS": "2", "WORLD_SIZE": "8"}, 8)


def test_bare_srun_becomes_ranks():
    env = {
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "1",
        "SLURM_JOB_ID": "7",
        "MASTER_ADDR": "node0",
    }
    adopt_slurm(env)
    assert (env["RANK"], env["WORLD_SIZE"], env["LOCAL_RANK"]) == ("3", "4", "1")
    assert env["MASTER_PORT"] == "20007"
    step = env | {"SLURM_STEP_ID": "2"}
    for name in ("RANK", "MASTER_PORT"):
        del step[name]
    adopt_slurm(step)
    assert step["MASTER_PORT"] == "20009", "steps of one job that run at once do not meet"


def test_srun_without_names_of_nodes_is_refused(monkeypatch):
    class Empty:
        stdout = ""

    monkeypatch.setattr(launch.subprocess, "run", lambda *a, **k: Empty)
    with pytest.raises(EnvironmentFault, match="export MASTER_ADDR"):
        adopt_slurm({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"})


def test_a_lost_peer_is_a_sentence_and_a_full_gpu_is_not_a_lost_peer():
    with pytest.raises(EnvironmentFault, match="lost contact with another process"), contact():
        raise RuntimeError("Connection closed by peer")
    with pytest.raises(torch.OutOfMemoryError), contact():
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_agreeing_alone():
    assert agree(World(0, 1, torch.device("cpu")), lambda: 5) == 5


def test_wrong_number_of_processes_ends_every_rank(tmp_path):
    """Two real ranks, three asked for: both exit with 4 and the sentence."""
    arguments = [*QUICK, "--run.dir", str(tmp_path / "a"), "--parallel.processes", "3"]
    processes = forked.start_ranks(arguments, world=2)
    for p, output in zip(processes, finish(processes), strict=True):
        assert p.returncode == 4, output
        assert "asks for 3 processes but this process group has 2" in output


def test_one_rank_fails_all_ranks_stop(tmp_path):
    """The run directory is refused on rank 0 only; rank 1 must not wait for ever."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/config.yaml").write_text("")
    processes = forked.start_ranks([*QUICK, "--run.dir", str(tmp_path / "a")], world=2)
    for p, output in zip(processes, finish(processes), strict=True):
        assert p.returncode == 2, output
        assert "would write over" in output


def test_a_tracker_that_one_rank_lacks_is_refused_by_all(tmp_path):
    """Rank 1's node has no such package: both say so before training, and nobody waits."""
    words = ["--recipe.name", "gan", "--log.trackers", "[tensorboard]", "--run.dir"]
    port, ranks, logs = str(free_port()), [], [tmp_path / "0.log", tmp_path / "1.log"]
    for rank, log in enumerate(logs):
        env = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        env |= {"LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        arguments = ([*words, str(tmp_path / "a")], str(log), env)
        ranks.append(forked.CONTEXT.Process(target=without_tracker, args=arguments))
    for process in ranks:
        process.start()
    for process, log in zip(ranks, logs, strict=True):
        process.join(patience(60))
        assert process.exitcode == 4, log.read_text()
        assert "names tensorboard, which is not installed" in log.read_text()
        assert "Traceback" not in log.read_text()
    assert not (tmp_path / "a").exists()


def without_tracker(words: list[str], log: str, env: dict[str, str]) -> None:
    from largegan.run import trackers

    if env["RANK"] == "1":
        trackers.missing_trackers = set
    else:
        trackers.Trackers.__init__ = lambda self, *_, **__: None
    forked.program(words, log, env)


def test_accelerate_launch_two_processes_without_gpu(tmp_path):
    """The form that the error message recommends."""
    command = ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    arguments = [*command, *QUICK, "--run.dir", str(tmp_path / "a"), "--parallel.processes", "2"]
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        env=clean_environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=patience(200),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 process(es) on cpu" in done.stdout
    assert (tmp_path / "a/checkpoints/000000016/COMPLETE").exists()


def test_accelerate_launch_that_lies_is_refused(tmp_path):
    command = ["accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    done = subprocess.run(
        [sys.executable, "-m", *command, *QUICK, "--run.dir", str(tmp_path / "a")],
        env=clean_environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=patience(200),
    )
    assert done.returncode != 0
    assert "started only this one" in done.stderr
    assert not (tmp_path / "a").exists()


def test_a_signal_to_one_rank_stops_both(tmp_path):
    """Only rank 1 hears it; both leave after the same iteration, with one checkpoint."""
    endless = [*TRAIN, "--data.workers", "0", "--train.log_every_nimg", "8"]
    folder = tmp_path / "a"
    words = ["--run.dir", str(folder), "--train.total_nimg", str(10**8), "--train.batch_size", "8"]
    processes = forked.start_ranks([*endless, *words], world=2)
    deadline = time.monotonic() + patience(120)
    while not (folder / "metrics.jsonl").exists():
        assert all(p.poll() is None for p in processes) and time.monotonic() < deadline
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGUSR1)
    for p, output in zip(processes, finish(processes), strict=True):
        assert p.returncode == 75, output
    assert len(list(folder.glob("checkpoints/*/COMPLETE"))) == 1


@pytest.mark.parametrize("number", [700, 701], ids=["one rank", "the other"])
def test_one_rank_finds_damage_the_other_says_so(number, tmp_path):
    """The sentence and its exit code on both, no traceback, and nobody waits for ever."""
    shard = tmp_path / "shards" / "a.tar"
    shard.parent.mkdir()
    bundled = ROOT / "largegan/data/bundled/noto32-000000.tar"
    with tarfile.open(bundled) as tar:
        image = [m for m in tar.getmembers() if m.name.endswith(".png")][number]
    content = bytearray(bundled.read_bytes())
    content[image.offset_data + 60] ^= 255
    shard.write_bytes(content)
    words = ["--data.path", str(shard.parent), "--data.workers", "0", "--train.batch_size", "8"]
    processes = forked.start_ranks([*TRAIN, *words, "--run.dir", str(tmp_path / "a")], world=2)
    outputs = finish(processes)
    assert [p.returncode for p in processes] == [3, 3], outputs
    sentence = f"member {image.name} in shard a.tar"
    own = [f"error: {sentence}" in output for output in outputs]
    told = [
        f"{sentence}" in output and f"error: rank {1 - i}: " in output
        for i, output in enumerate(outputs)
    ]
    assert sorted(own) == [False, True] and told == own[::-1], outputs
    assert not any("Traceback" in output for output in outputs)


def test_nan_on_one_rank_skips_the_step_on_both():
    outputs = forked.run_ranks(["-m", "tests.parallel.nan_worker"], world=2)
    for output in outputs:
        assert "skipped 3" in output, output
    digests = {line for o in outputs for line in o.splitlines() if line.startswith("digest")}
    assert len(digests) == 1, "ranks parted"


def test_what_layers_count_is_that_of_all_ranks():
    """ADA's signs, once each, however many phases follow; p moves alike everywhere. Of batch norm's
    running statistics all take the mean.
    """
    for output in forked.run_ranks(["-m", "tests.parallel.sums_worker"], world=2):
        assert "first [2.0, 4.0]\nsecond [6.0, 8.0]\np 0.08 [0.0, 0.0]" in output, output
        assert "running 1.5 1.5" in output, output


def test_ranks_that_do_not_end_say_where_they_stand(monkeypatch):
    """What a person needs when a test stops on a machine they cannot look into."""
    monkeypatch.setenv("LARGEGAN_TEST_PATIENCE", "0.1")
    program = "import time\nprint('begun', flush=True)\nwhile True:\n    time.sleep(1)"
    with pytest.raises(AssertionError, match=r"(?s)not done after.*rank 1:.*begun.*line 4 in <mod"):
        run_ranks(["-c", program], world=2, timeout_s=20)


def test_a_port_that_is_taken_is_named(tmp_path):
    """By a program that is no training: there is nobody to meet."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        env = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
        log = tmp_path / "log"
        process = forked.start(
            [*QUICK[2:], "--run.dir", str(tmp_path / "a")], log, env | {"MASTER_PORT": port}
        )
        process.join(patience(120))
    assert process.exitcode == 4, log.read_text()
    assert f"error: port 127.0.0.1:{port} is taken by another program" in log.read_text()
    assert not (tmp_path / "a").exists()


def test_exit_codes_are_written_where_the_batch_script_looks(tmp_path, monkeypatch):
    """Launchers turn them into 1; and asking to be requeued is not a failure."""
    monkeypatch.setenv("LARGEGAN_EXIT_FILE", str(tmp_path / "codes"))
    for code, seen_by_launcher in ((3, 3), (75, 0), (0, 0)):
        with pytest.raises(SystemExit) as left:
            launch.leave(code)
        assert left.value.code == seen_by_launcher
    assert (tmp_path / "codes").read_text().split() == ["3", "75", "0"]
