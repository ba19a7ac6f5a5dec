"""One writer per run directory, whoever crashed before, wherever it ran."""

import json
import multiprocessing
import os
import time

import pytest

from largegan.errors import EnvironmentFault
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
