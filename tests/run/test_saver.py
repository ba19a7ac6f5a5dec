"""Checkpoints are written beside training, as safely as before it."""

import threading

import pytest

from largegan import checkpoint
from largegan.errors import EnvironmentFault
from largegan.run.lock import RunLock
from largegan.run.saver import Saver
from tests.test_checkpoint import content


@pytest.fixture
def saver(tmp_path):
    made = Saver(tmp_path / "checkpoints", RunLock(), keep_last=2, keep_every_nimg=None)
    yield made
    made.close()


@pytest.fixture
def slow_disk(monkeypatch):
    """The event that lets the writing of files go on."""
    go, write = threading.Event(), checkpoint._write_files

    def wait_and_write(*arguments):
        assert go.wait(30)
        write(*arguments)

    monkeypatch.setattr(checkpoint, "_write_files", wait_and_write)
    return go


def test_training_goes_on_meanwhile_and_the_next_save_waits(saver, slow_disk):
    saver.begin(100, content(100), keep_nimg=None)
    assert checkpoint.newest(saver.folder)[0] is None, "training is here before the disk"
    second = threading.Thread(target=saver.begin, args=(200, content(200)), kwargs={"keep_nimg": 1})
    second.start()
    second.join(0.2)
    assert second.is_alive(), "two writers at a time"
    slow_disk.set()
    second.join(30)
    saver.wait()
    assert [p.name for p in sorted(checkpoint.numbered(saver.folder))] == ["000000100", "000000200"]
    saver.begin(300, content(300), keep_nimg=None)
    saver.wait()
    assert checkpoint.newest(saver.folder)[0].name == "000000300"
    assert len(checkpoint.numbered(saver.folder)) == 2, "pruned"


def test_what_went_wrong_is_raised_where_training_is(saver, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_write_files", full)
    saver.begin(100, content(100), keep_nimg=None)
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        saver.wait()
    saver.wait()  # once
    saver.begin(100, content(100), keep_nimg=None)
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        saver.begin(200, content(200), keep_nimg=None)
    saver.begin(200, content(200), keep_nimg=None)
    saver.close()  # at the end of a run that has an error of its own
    assert "the disk is full" in capsys.readouterr().err


def test_a_run_that_was_taken_over_writes_nothing(saver, tmp_path):
    saver.lock.acquire(tmp_path)
    (tmp_path / ".lock").write_text('{"token": "x", "job": null, "pid": 1, "host": "elsewhere"}')
    saver.begin(100, content(100), keep_nimg=None)
    with pytest.raises(EnvironmentFault, match="taken over by another start"):
        saver.wait()
    assert not saver.folder.exists()


def test_the_copy_is_not_what_training_changes():
    made = content(1.0)
    kept = checkpoint.on_host(made.model)
    made.model["G.weight"].zero_()
    assert (kept["G.weight"] == 1).all()
