"""Windows of real runs (`python benchmarks/health.py record FOLDER`): what verdicts say of them."""

import json
from pathlib import Path

import pytest

from largegan.health.diagnosis import Diagnosis
from largegan.health.verdicts import VERDICTS

RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_run(name):
    """An induced illness begins with the last line; a healthy run is never called ill."""
    verdict, lines = RECORDED[name]["verdict"], RECORDED[name]["lines"]
    diagnosis = Diagnosis({})
    found = [(n.verdict, n.nimg) for line in lines for n in diagnosis.add(line)]
    if verdict is None:
        assert found == []
    else:
        assert (verdict, lines[-1]["nimg"]) in found


def test_runs_were_recorded_of_what_was_induced():
    """Of every way to fail there are two at least, and healthy runs of three seeds."""
    ill = [row["verdict"] for row in RECORDED.values()]
    assert all(ill.count(name) >= 2 for name in VERDICTS)
    assert ill.count(None) >= 30
