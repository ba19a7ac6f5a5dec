"""Ranks that run other programs or see another disk are named before anything is trained."""

import shutil

import pytest

from largegan.errors import EnvironmentFault
from largegan.parallel import alike
from largegan.parallel.launch import World
from tests.parallel.launching import ROOT, finish, start_ranks

WORDS = ["-m", "largegan.train", "--recipe.name", "gaussian", "--data.path", "synthetic:gaussian"]
FEW = ["--train.total_nimg", "64", "--data.workers", "0"]
THREE = World(0, 3, None)


def hear(monkeypatch, *answers) -> None:
    """What the ranks answer."""
    monkeypatch.setattr(alike, "gather", lambda world, mine: list(answers))


def test_the_odd_rank_is_named(monkeypatch):
    usual = {"torch": "2.15.0", "largegan": "0.1 (source a)"}
    odd = usual | {"largegan": "0.1 (source b)"}
    hear(monkeypatch, ("node1", usual), ("node2", odd), ("node3", usual))
    with pytest.raises(EnvironmentFault, match=r"rank 1 on node2 runs largegan 0.1 \(so"):
        alike.check_versions(THREE)
    hear(monkeypatch, ("node1", usual), ("node2", usual), ("node3", usual))
    alike.check_versions(THREE)


def test_the_blind_nodes_are_named(monkeypatch, tmp_path):
    hear(monkeypatch, ("node1", True), ("node2", False), ("node2", False))
    with pytest.raises(EnvironmentFault, match="is not shared: node2 cannot see what rank 0 on"):
        alike.check_shared(THREE, tmp_path, "note", "token", patience_s=0)


def test_a_note_counts_when_it_is_there(monkeypatch, tmp_path):
    """Also one that a network file system shows late."""
    seen = []
    monkeypatch.setattr(alike, "gather", lambda world, mine: seen.append(mine[1]) or [mine])
    (tmp_path / "note").write_text("another token")
    alike_args = (THREE, tmp_path, "note", "my token")
    with pytest.raises(EnvironmentFault, match="not shared"):
        alike.check_shared(*alike_args, patience_s=0)
    (tmp_path / "note").write_text("my token")
    alike.check_shared(*alike_args, patience_s=0)
    assert seen == [False, True]


def test_two_copies_of_the_code_do_not_train_together(tmp_path):
    """Real ranks; the second one runs a copy that somebody has edited."""
    shutil.copytree(ROOT / "largegan", tmp_path / "largegan")
    with open(tmp_path / "largegan/losses.py", "a") as file:
        file.write("# edited\n")
    words = [*WORDS, *FEW, "--run.dir", str(tmp_path / "a")]
    processes = start_ranks(words, world=2, folders=[ROOT, tmp_path])
    for process, output in zip(processes, finish(processes), strict=True):
        assert process.returncode == 4, output
        assert "error: rank 1 on" in output and "runs largegan" in output
    assert not (tmp_path / "a").exists()
