"""An examination in a hurry, of tiny networks, and shards with something to remark on."""

import collections
from pathlib import Path

import numpy as np
import pytest

from largegan.data.pack import pack
from largegan.data.prepare import Preparation
from largegan.doctor import data
from largegan.doctor.examine import examine
from largegan.doctor.finding import Visit

TINY = ["--recipe.name", "gan", "--recipe.width", "16", "--train.batch_size", "8"]
TINY += ["--train.cpu_threads", "1"]


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(data, "READ_SECONDS", 0.05)


@pytest.fixture
def examined(tmp_path):
    """examined(*options) -> (codes of the failures, {what: its findings as text})."""

    def run(*options: str):
        failures, found = [], collections.defaultdict(list)
        for finding in examine(Visit([*TINY, "--run.dir", str(tmp_path / "run"), *options])):
            found[finding.what].append(str(finding))
            if finding.level == "FAIL":
                failures.append(finding.code)
        return failures, found

    return run


@pytest.fixture
def shards(tmp_path) -> Path:
    """12 images of 3 classes, of which the second has none."""
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(12) % 2 * 2)
    pack(tmp_path / "a.npz", tmp_path / "shards", preparation=Preparation())
    return tmp_path / "shards"
