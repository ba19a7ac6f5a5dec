"""One writer per run directory, whoever crashed before, wherever it ran."""

import json
import multiprocessing
import os
import signal
import time

import pytest

from largegan.errors import EnvironmentFault
from largegan.run import lock as lock_module
from largegan.run.lock import NAME, RunLock, identity


@pytest.fixture
def lock():
    made = []

    def make(**options) -> RunLock:
        made.append(RunLock(**{"beat_s": 0.05, "patience_s": 0.5} | options))
        return made[-1]

    yield make
    for one in made:
        one.release()


def leave_behind(folder, **who) -> None:
    """A lock whose holder is described by `who`, and otherwise is this process."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAME).write_text(json.dumps({"token": "other", **identity(), **who}))


def hold_for_ever(folder, ready) -> None:
    RunLock().acquire(folder)
    ready.set()
    time.sleep(1000)


def test_the_second_run_is_refused_until_the_first_is_over(lock, tmp_path):
    first, second = lock(), lock()
    first.acquire(tmp_path / "run")
    with pytest.raises(EnvironmentFault, match=f"written by another run .*process {os.getpid()}"):
        second.acquire(tmp_path / "run")
    first.release()
    second.acquire(tmp_path / "run")


def test_a_killed_process_leaves_no_lock(lock, tmp_path):
    """Same machine: known at once, although its time stamp is fresh."""
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=hold_for_ever, args=(tmp_path / "run", ready))
    process.start()
    assert ready.wait(10)
    patient = lock(patience_s=1000)
    with pytest.raises(EnvironmentFault, match=f"process {process.pid} "):
        patient.acquire(tmp_path / "run")
    process.kill()
    process.join()
    patient.acquire(tmp_path / "run")


def test_a_killed_process_that_nobody_collected_leaves_no_lock(lock, tmp_path):
    """In a container whose first process collects no children, it stays in the table for ever."""
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=hold_for_ever, args=(tmp_path / "run", ready))
    process.start()
    assert ready.wait(10)
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended; its entry is there
    lock(patience_s=1000).acquire(tmp_path / "run")
    process.join()


def test_a_recycled_process_number_is_no_proof_of_life(lock, tmp_path):
    leave_behind(tmp_path, started="1")
    lock(patience_s=1000).acquire(tmp_path)


@pytest.mark.parametrize("other", [{"host": "elsewhere"}, {"boot": "before"}, {"pids": "pid:[1]"}])
def test_elsewhere_the_time_stamp_tells(lock, other, tmp_path):
    """One that moves belongs to somebody who lives, one that stands still to nobody."""
    holder = lock(beat_s=0.05)
    holder.acquire(tmp_path)
    leave_behind(tmp_path, **other, token=holder.token)
    with pytest.raises(EnvironmentFault, match="written by another run"):
        lock(patience_s=5).acquire(tmp_path)
    holder._over.set()
    time.sleep(0.2)
    lock(patience_s=0.5).acquire(tmp_path)


def test_a_requeued_job_takes_over_from_its_earlier_start(lock, tmp_path, monkeypatch):
    """The earlier start may live on, on a node that was cut off: it must not write any more."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    earlier, later, other = lock(), lock(patience_s=1000), lock()
    earlier.acquire(tmp_path)
    earlier.check()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    later.acquire(tmp_path)
    with pytest.raises(EnvironmentFault, match="taken over by another start of this run"):
        earlier.check()
    earlier.release()
    later.check()  # the loser's release must not give away what is not its own
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")  # of another job: more starts are no claim
    with pytest.raises(EnvironmentFault, match="job 7, process"):
        other.acquire(tmp_path)


def test_of_two_newcomers_one_takes_an_abandoned_lock(lock, tmp_path, monkeypatch):
    """The other one has found it abandoned, too, and learns that it has a new holder."""
    leave_behind(tmp_path, started="1")
    first, second = lock(), lock()
    judge = lock_module.abandoned

    def judge_slowly(path, holder, me, patience_s):
        verdict = judge(path, holder, me, patience_s)
        if me["token"] == second.token and holder["token"] == "other":
            first.acquire(tmp_path)  # in the meantime
        return verdict

    monkeypatch.setattr(lock_module, "abandoned", judge_slowly)
    with pytest.raises(EnvironmentFault, match="written by another run"):
        second.acquire(tmp_path)
    first.check()
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_a_newcomer_that_died_while_taking_over_is_no_obstacle(lock, tmp_path):
    leave_behind(tmp_path, started="1")
    (tmp_path / NAME).rename(tmp_path / f"{NAME}.after-other")
    leave_behind(tmp_path, started="1")
    lock().acquire(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_newcomers_at_the_same_instant(tmp_path):
    """Eight processes find the lock of one that is gone: one gets it, the others are refused."""
    leave_behind(tmp_path, started="1")
    context = multiprocessing.get_context("fork")
    start, codes = context.Barrier(8), context.Queue()
    runs = [context.Process(target=come, args=(tmp_path, start, codes)) for _ in range(8)]
    for run in runs:
        run.start()
    outcomes = sorted(codes.get(timeout=30) for _ in runs)
    for run in runs:
        run.join()
    assert outcomes == [False] * 7 + [True]


def come(folder, start, codes) -> None:
    one = RunLock()
    start.wait()
    try:
        one.acquire(folder)
        codes.put(True)
    except EnvironmentFault:
        codes.put(False)
    start.wait()  # whoever has it lives on until all have asked


def test_a_directory_in_which_nothing_was_written_disappears(lock, tmp_path):
    one = lock()
    one.acquire(tmp_path / "run")
    one.release()
    assert not (tmp_path / "run").exists()


def test_a_place_that_cannot_be_written_is_a_sentence(lock, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault, match=r"choose a writable --run\.dir"):
        lock().acquire(tmp_path / "file" / "run")


def test_file_systems_without_hard_links(lock, tmp_path, monkeypatch):
    def refuse(*paths):
        raise OSError(95, "not supported")

    monkeypatch.setattr(os, "link", refuse)
    lock().acquire(tmp_path)
    with pytest.raises(EnvironmentFault, match="written by another run"):
        lock().acquire(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "nul", '{"token": "../../x"}', "\0" * 100])
def test_a_lock_that_says_nothing_is_taken_over_in_time(lock, tmp_path, text):
    """A full disk, or a cut power line, may leave an empty one."""
    (tmp_path / NAME).write_text(text)
    begun = time.monotonic()
    lock(patience_s=0.3).acquire(tmp_path)
    assert 0.3 <= time.monotonic() - begun < 5
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_only_folders_that_were_made_go_away(lock, tmp_path):
    (tmp_path / "mine").mkdir()
    for path in ("mine", "deep/er/run"):
        one = lock()
        one.acquire(tmp_path / path)
        one.release()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
