"""tools/doctor.py: what it says of sound and of broken settings, and never a traceback."""

import collections
import subprocess
import sys

import pytest

from largegan.doctor import data
from tests.doctor.conftest import TINY
from tests.forked import run_ranks, start_ranks
from tests.parallel.launching import clean_environment
from tests.tools.test_sample import TOOL as SAMPLE
from tests.tools.test_sample import load_tool

TOOL = SAMPLE.with_name("doctor.py")


@pytest.fixture
def doctor(monkeypatch):
    """The tool, loaded anew and in a hurry."""
    tool = load_tool(TOOL)
    monkeypatch.setattr(data, "READ_SECONDS", 0.05)
    return tool


@pytest.fixture
def visit(doctor, capsys, tmp_path):
    """visit(*options) -> (exit code, {what: its lines}, all lines)."""

    def run(*options: str):
        code = doctor.main([*TINY, "--run.dir", str(tmp_path / "run"), *options])
        lines = capsys.readouterr().out.splitlines()
        found = collections.defaultdict(list)
        for line in lines:
            assert line[:5] in ("ok   ", "warn ", "FAIL "), line
            found[line[6:].split(":")[0]].append(line)
        return code, found, lines

    return run


def failures(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("FAIL")]


def test_sound(visit, tmp_path):
    code, found, lines = visit()
    assert code == 0 and not failures(lines)
    assert "1633 examples of 3x32x32, 9 classes" in found["data"][0]
    assert "img/s with one reader, labels 0 to 8" in found["reading"][0]
    assert "D.discriminator" in found["phases"][0] and "micro-batch of 8" in found["phases"][0]
    assert "D 0." in found["networks"][0] and "a checkpoint has about" in found["run directory"][0]
    assert not (tmp_path / "run").exists(), "looking leaves nothing behind"


def test_without_a_configuration_and_as_a_program():
    answer = subprocess.run(
        [sys.executable, TOOL], capture_output=True, text=True, env=clean_environment()
    )
    assert answer.returncode == 0 and not answer.stderr
    assert "config: none given" in answer.stdout and "bundled:noto32" in answer.stdout


def test_several_processes_meet():
    first, second = run_ranks([str(TOOL), *TINY], world=2)
    assert "\n      processes: waiting for 2 at 127.0.0.1:" in first
    assert "2 in one group, a reduction is right" in first
    assert "micro-batch of 4" in first
    assert second == "", "other ranks speak only of what is wrong"


def test_every_rank_tells_what_is_wrong_with_it():
    outputs = []
    for process in start_ranks([str(TOOL), *TINY, "--parallel.processes", "4"], world=2):
        outputs.append(process.communicate(timeout=120)[0])
        assert process.returncode == 4
    assert "FAIL  processes: --parallel.processes asks for 4" in outputs[0]
    assert outputs[1].startswith("rank 1: FAIL  processes:")


def test_configuration_that_cannot_be_read(visit, tmp_path):
    code, found, lines = visit("--train.batch_sise", "8")
    assert code == 2 and "did you mean train.batch_size?" in found["config"][0]
    assert lines[-1] == found["config"][0], "nothing more can be looked at"
    assert visit("--config", str(tmp_path / "none.yaml"))[0] == 2


def test_no_data(visit, tmp_path):
    code, found, lines = visit("--data.path", str(tmp_path / "nothing"))
    assert code == 3 and "no shards were found" in found["data"][0]
    assert len(failures(lines)) == 1 and found["run directory"], "goes on with what it can"


def test_not_installed(doctor, monkeypatch, capsys):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(doctor, "import_module", absent)
    assert doctor.main([]) == 4
    assert "pip install -e ." in capsys.readouterr().out


def test_help(doctor, capsys):
    assert doctor.main(["--help"]) == 0
    assert "--config configs/quickstart.yaml" in capsys.readouterr().out
