"""Checkpoints survive kills, full disks and damage: tried, not assumed."""

import errno
import filecmp
import json
import os
import resource
import shutil
from pathlib import Path

import pytest
import torch

from largegan import checkpoint
from largegan.checkpoint import Checkpoint
from largegan.errors import ConfigError, DataError, EnvironmentFault


def content(value: float = 0.0, size: int = 100) -> Checkpoint:
    return Checkpoint(
        {"G.weight": torch.full((size,), value)},
        {"G/G.weight/exp_avg": torch.full((size,), value)},
        {"nimg": int(value)},
    )


def test_round_trip(tmp_path):
    path = checkpoint.save(tmp_path, 64, content(64))
    assert path.name == "000000064"
    loaded = checkpoint.load(path)
    assert torch.equal(loaded.model["G.weight"], torch.full((100,), 64.0))
    assert loaded.state == {"nimg": 64}
    assert sorted(p.name for p in path.iterdir()) == [
        "COMPLETE",
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]


def test_nothing_is_pickled(tmp_path):
    path = checkpoint.save(tmp_path, 1, content())
    for file in path.iterdir():
        assert not file.read_bytes().startswith((b"\x80", b"PK")), file.name


def test_the_same_state_gives_the_same_bytes(tmp_path):
    a = checkpoint.save(tmp_path / "a", 1, content(3))
    b = checkpoint.save(tmp_path / "b", 1, content(3))
    for name in (checkpoint.MODEL, checkpoint.OPTIMIZER, checkpoint.STATE):
        assert filecmp.cmp(a / name, b / name, shallow=False), f"{name} differs"


def test_shared_tensors_are_saved_once(tmp_path):
    shared = torch.ones(3)
    path = checkpoint.save(tmp_path, 1, Checkpoint({"a": shared, "b": shared}, {}, {}))
    assert list(checkpoint.load(path).model) == ["a"]


STEPS = 16  # more than the file-system calls of one save


@pytest.mark.parametrize("deadly_call", range(STEPS))
def test_a_kill_at_any_instant_loses_only_the_new_checkpoint(tmp_path, deadly_call):
    """A child dies at its n-th file-system call while it saves and prunes; the parent looks."""
    checkpoint.save(tmp_path, 100, content(100))
    child = os.fork()
    if child == 0:
        die_at(deadly_call)
        checkpoint.save(tmp_path, 200, content(200))
        checkpoint.prune(tmp_path, keep_last=1, keep_every_nimg=None)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    died = os.waitstatus_to_exitcode(status) == 9
    found, notes = checkpoint.newest(tmp_path)
    assert found is not None
    value = int(found.name)
    assert checkpoint.load(found).state == {"nimg": value}
    assert value in (100, 200) if died else value == 200
    if value == 100 and (tmp_path / "000000200").exists():
        assert notes, "a skipped checkpoint must be mentioned"
    # And the next attempt succeeds, whatever is lying around.
    checkpoint.save(tmp_path, 200, content(200))
    assert checkpoint.newest(tmp_path)[0].name == "000000200"


def die_at(call: int) -> None:
    """From now on the n-th of these calls ends the process without any cleaning up."""
    left = [call]

    def deadly(function):
        def wrapper(*args, **kwargs):
            if left[0] == 0:
                os._exit(9)
            left[0] -= 1
            return function(*args, **kwargs)

        return wrapper

    os.fsync = deadly(os.fsync)
    Path.rename = deadly(Path.rename)
    Path.replace = deadly(Path.replace)
    Path.unlink = deadly(Path.unlink)
    Path.write_text = deadly(Path.write_text)
    shutil.rmtree = deadly(shutil.rmtree)
    checkpoint.save_file = deadly(checkpoint.save_file)


def test_the_kill_test_covers_the_whole_save(tmp_path):
    """The last of its steps must be beyond the end, or instants were left out."""
    child = os.fork()
    if child == 0:
        die_at(STEPS - 1)
        checkpoint.save(tmp_path, 100, content(100))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_full_disk_keeps_what_was_there(tmp_path):
    """A real limit on file size: the child cannot write the second, larger checkpoint."""
    checkpoint.save(tmp_path, 100, content(100))
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        try:
            checkpoint.save(tmp_path, 200, content(200, size=100_000))
        except EnvironmentFault as fault:
            os._exit(fault.exit_code if "000000200" in str(fault) else 1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 4
    found, _ = checkpoint.newest(tmp_path)
    assert found.name == "000000100"
    assert not list(tmp_path.glob(".partial-*"))


def test_no_space_left_is_said_in_words(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(EnvironmentFault, match=r"the disk is full .* --run\.resume auto"):
        checkpoint.save(tmp_path, 100, content())


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "no marker": (lambda p: (p / "COMPLETE").unlink(), "has no COMPLETE marker"),
    "bad marker": (lambda p: (p / "COMPLETE").write_text("{"), "unreadable COMPLETE marker"),
    "missing": (lambda p: (p / checkpoint.STATE).unlink(), "lacks state.json"),
    "truncated": (
        lambda p: os.truncate(p / checkpoint.MODEL, 50),
        "has a truncated model.safetensors",
    ),
    "flipped bit": (
        lambda p: spoil(p / checkpoint.OPTIMIZER),
        "has a damaged optimizer.safetensors",
    ),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_found_named_and_passed_over(tmp_path, kind):
    hurt, sentence = DAMAGES[kind]
    checkpoint.save(tmp_path, 100, content(100))
    newer = checkpoint.save(tmp_path, 200, content(200))
    hurt(newer)
    with pytest.raises(DataError, match=sentence):
        checkpoint.load(newer)
    found, notes = checkpoint.newest(tmp_path)
    assert found.name == "000000100"
    assert len(notes) == 1 and sentence in notes[0] and "000000200" in notes[0]


def test_pruning(tmp_path):
    for nimg in range(100, 800, 100):
        checkpoint.save(tmp_path, nimg, content(nimg))
    checkpoint.prune(tmp_path, keep_last=2, keep_every_nimg=300)
    kept = sorted(int(p.name) for p in checkpoint.numbered(tmp_path))
    assert kept == [300, 600, 700]


def test_milestones_are_where_iterations_end(tmp_path):
    """Checkpoints of batches of 64 never hit a multiple of 1000; the next one after it is kept."""
    for nimg in (512, 1024, 1536, 2048, 2560, 3072, 3584):
        checkpoint.save(tmp_path, nimg, content(nimg))
        checkpoint.prune(tmp_path, keep_last=1, keep_every_nimg=1000)
    kept = sorted(int(p.name) for p in checkpoint.numbered(tmp_path))
    assert kept == [1024, 2048, 3072, 3584]


def test_resolve(tmp_path):
    path = checkpoint.save(tmp_path / "checkpoints", 100, content())
    assert checkpoint.resolve(tmp_path) == path
    assert checkpoint.resolve(path) == path
    with pytest.raises(ConfigError, match="neither a checkpoint nor a run directory"):
        checkpoint.resolve(tmp_path / "elsewhere")


def test_another_architecture_is_refused_by_name(tmp_path):
    saved = {"G.weight": torch.zeros(3), "G.bias": torch.zeros(1)}
    with pytest.raises(ConfigError, match=r"holds G\.weight as \[3\], this .* makes it \[4\]"):
        checkpoint.check_model(tmp_path, saved, {"G.weight": torch.zeros(4)})
    with pytest.raises(ConfigError, match=r"has no G\.gain"):
        checkpoint.check_model(tmp_path, saved, {"G.gain": torch.zeros(4)})
    with pytest.raises(ConfigError, match=r"holds G\.bias, unknown"):
        checkpoint.check_model(tmp_path, saved, {"G.weight": torch.zeros(3)})


def test_marker_lists_sizes_and_hashes(tmp_path):
    path = checkpoint.save(tmp_path, 100, content())
    files = json.loads((path / "COMPLETE").read_text())["files"]
    assert set(files) == {"model.safetensors", "optimizer.safetensors", "state.json"}
    assert all(len(f["sha256"]) == 64 and f["bytes"] > 0 for f in files.values())
