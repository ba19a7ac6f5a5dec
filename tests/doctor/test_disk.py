"""Run directories that are taken, full or closed, and the size of a checkpoint."""

import collections
import shutil
import tempfile

import pytest
import torch

from largegan import train
from largegan.doctor import disk
from largegan.doctor.data import check_data
from largegan.doctor.finding import Visit
from largegan.doctor.processes import check_processes
from largegan.doctor.training import check_config, check_networks
from tests.doctor.conftest import TINY


def test_checkpoint_size_is_foretold(tmp_path):
    options = [*TINY, "--run.dir", str(tmp_path / "r"), "--train.total_nimg", "8"]
    assert train.main([*options, "--data.workers", "0"]) == 0
    (folder,) = (tmp_path / "r" / "checkpoints").glob("0*")
    written = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    torch.manual_seed(0)
    visit = Visit(TINY)
    for check in (check_config, check_processes, check_data, check_networks):
        list(check(visit))
    assert disk.checkpoint_bytes(visit.recipe) == pytest.approx(written, rel=0.05)


def test_run_directory_that_is_taken(examined, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    failures, found = examined()
    assert failures == [2] and "holds no run, and a metrics.jsonl" in found["run directory"][0]
    begun = "recipe: {name: gan}\nrun: {}\ndata: {}\ntrain: {}\n"
    (tmp_path / "run" / "config.yaml").write_text(begun)
    failures, found = examined()
    assert not failures and "already holds a run" in found["run directory"][0]
    assert "already holds" not in examined("--run.resume", "auto")[1]["run directory"][0]


@pytest.mark.parametrize(("checkpoints", "level"), [(1.5, "FAIL"), (3.5, "warn"), (4.5, "ok")])
def test_full_disk(examined, monkeypatch, checkpoints, level):
    """Three are kept, and a fourth is there while it is written."""
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(disk, "checkpoint_bytes", lambda recipe: 1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, checkpoints * 2**20))
    failures, found = examined()
    assert found["run directory"][0].startswith(level)
    assert failures == ([4] if level == "FAIL" else [])


def test_place_that_cannot_be_written(examined, monkeypatch):
    def refuse(**options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    failures, found = examined()
    assert failures == [4] and "(Permission denied); choose a writable" in found["run directory"][0]
