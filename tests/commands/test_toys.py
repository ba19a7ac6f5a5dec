"""largegan toys: histograms of several runs, and what is no toy."""

from pathlib import Path

import pytest
from PIL import Image

from largegan.commands import toys
from largegan.recipe import DataSpec
from tests.recipes.common import NUMBERS, TINY
from tests.translation import checkpoints


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name, spec in (("gaussian", NUMBERS), ("gaussian_mmd", NUMBERS), ("gmmn", None)):
        spec = spec or DataSpec(3, 16, 16)
        checkpoints.write(folder / name, name, spec, **TINY[name])
    return folder


def call(capsys, *words) -> tuple[int, str]:
    code = toys.main([str(word) for word in words])
    said = capsys.readouterr()
    return code, said.err + said.out


def test_side_by_side(runs, tmp_path, capsys):
    one, both = tmp_path / "one.png", tmp_path / "both.png"
    assert call(capsys, runs / "gaussian", one)[0] == 0
    code, said = call(capsys, runs / "gaussian", runs / "gaussian_mmd", both)
    assert code == 0 and said.count("mean ") == 2 and "kurtosis" in said
    assert Image.open(both).width == 2 * Image.open(one).width
    assert call(capsys, runs / "gaussian", both)[0] == 2, "it exists"


def test_what_is_no_toy(runs, tmp_path, capsys):
    code, said = call(capsys, runs / "gmmn", tmp_path / "x.png")
    assert code == 2 and "is of recipe gmmn, which is no 1-D toy" in said
    assert call(capsys, runs / "gaussian", tmp_path / "x.jpg")[0] == 2
