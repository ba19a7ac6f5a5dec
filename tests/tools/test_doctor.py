"""tools/doctor.py: what it says of sound and of broken settings, and never a traceback."""

import collections
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from largegan.data.pack import pack
from largegan.data.prepare import Preparation
from largegan.doctor import data, disk, machine, packages, training
from largegan.doctor.finding import Visit
from largegan.doctor.processes import check_processes
from largegan.doctor.training import check_config
from tests.parallel.launching import clean_environment, run_ranks, start_ranks
from tests.tools.test_sample import TOOL as SAMPLE
from tests.tools.test_sample import load_tool

TOOL = SAMPLE.with_name("doctor.py")
TINY = ["--recipe.name", "gan", "--recipe.width", "16", "--train.batch_size", "8"]
TINY += ["--train.cpu_threads", "1"]


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


@pytest.fixture
def shards(tmp_path) -> Path:
    """12 images of 3 classes, of which the second has none."""
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(12) % 2 * 2)
    pack(tmp_path / "a.npz", tmp_path / "shards", preparation=Preparation())
    return tmp_path / "shards"


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


def test_checkpoint_size_is_foretold(doctor, tmp_path):
    from largegan import train

    options = [*TINY, "--run.dir", str(tmp_path / "r"), "--train.total_nimg", "8"]
    assert train.main([*options, "--data.workers", "0"]) == 0
    (folder,) = (tmp_path / "r" / "checkpoints").glob("0*")
    written = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    torch.manual_seed(0)
    visit = Visit(TINY)
    for check in (check_config, check_processes, data.check_data, training.check_networks):
        list(check(visit))
    assert disk.checkpoint_bytes(visit.recipe) == pytest.approx(written, rel=0.05)


def test_without_a_configuration_and_as_a_program():
    answer = subprocess.run(
        [sys.executable, TOOL], capture_output=True, text=True, env=clean_environment()
    )
    assert answer.returncode == 0 and not answer.stderr
    assert "config: none given" in answer.stdout and "bundled:noto32" in answer.stdout


def test_several_processes_meet():
    first, second = run_ranks([str(TOOL), *TINY], world=2)
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


def test_recipe_that_does_not_fit_the_data(visit):
    code, found, _ = visit("--data.path", "synthetic:gaussian", "--recipe.name", "dcgan")
    assert code == 2 and found["config"][0].startswith("FAIL")  # dcgan has no width
    code, found, _ = visit("--train.batch_size", "9", "--train.micro_batch_size", "2")
    assert code == 2


def test_no_data(visit, tmp_path):
    code, found, lines = visit("--data.path", str(tmp_path / "nothing"))
    assert code == 3 and "no shards were found" in found["data"][0]
    assert len(failures(lines)) == 1 and found["run directory"], "goes on with what it can"


def test_damaged_data(visit, shards):
    (shard,) = shards.glob("*.tar")
    content = bytearray(shard.read_bytes())
    for start in range(0, len(content), 512):  # every member's data, no header
        if content[start : start + 2] == b"\xff\xd8":
            content[start : start + 400] = bytes(400)
    shard.write_bytes(content)
    code, _, lines = visit("--data.path", str(shards))
    assert code == 3 and shard.name in failures(lines)[0]


def test_classes_without_examples_and_few_examples(visit, shards):
    code, found, _ = visit("--data.path", str(shards), "--train.batch_size", "16")
    assert code == 0
    assert found["labels"][0].startswith("warn  labels: 1 of 3 classes have no example")
    assert any("fewer than one batch of 16" in line for line in found["data"])


def test_slow_storage(visit, doctor, monkeypatch):
    from largegan.data import Stream

    read = Stream.next_batch
    monkeypatch.setattr(Stream, "next_batch", lambda s: time.sleep(0.02) or read(s))
    code, found, _ = visit()
    assert code == 0 and "it waits for the disk or network; use more" in found["reading"][0]


def test_run_directory_that_is_taken(visit, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    code, found, _ = visit()
    assert code == 0 and "already holds a run" in found["run directory"][0]
    assert "already holds" not in visit("--run.resume", "auto")[1]["run directory"][0]


@pytest.mark.parametrize(("free", "level", "code"), [(10, "FAIL", 4), (2.5, "warn", 0)])
def test_full_disk(visit, doctor, monkeypatch, free, level, code):
    """`free` in bytes, or in checkpoints."""
    real = disk.checkpoint_bytes
    usage = collections.namedtuple("usage", "total used free")
    sizes = []
    monkeypatch.setattr(disk, "checkpoint_bytes", lambda r: sizes.append(real(r)) or sizes[0])
    assert visit()[0] == 0
    left = free if free == 10 else int(free * sizes[0])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(0, 0, left))
    found = visit()
    assert found[0] == code and found[1]["run directory"][0].startswith(level)


def test_place_that_cannot_be_written(visit, doctor, monkeypatch):
    def refuse(**options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    code, found, _ = visit()
    assert code == 4 and "(Permission denied); choose a writable" in found["run directory"][0]


def test_old_and_missing_packages(visit, doctor, monkeypatch):
    installed = metadata.version
    faked = {"torch": "2.0.0", "webdataset": None, "deepspeed": None}
    monkeypatch.setattr(packages, "version_of", lambda p: faked[p] if p in faked else installed(p))
    code, found, _ = visit()
    assert code == 4
    assert "2.0.0, but the project needs >=2.11; pip install" in found["torch"][0]
    assert found["webdataset"][0].startswith("FAIL") and "deepspeed" not in found


def test_decoder_that_is_missing_or_wrong(visit, doctor, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspng", None)
    code, found, _ = visit()
    assert code == 4 and "does not work" in found["pyspng"][0]
    assert "simplejpeg" in found["decoders"][0]


def test_old_python(visit, doctor, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 8, 0))
    code, found, _ = visit()
    assert code == 4 and found["python"][0].endswith("use Python 3.10 or newer")


def test_not_installed(doctor, monkeypatch, capsys):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(doctor, "import_module", absent)
    assert doctor.main([]) == 4
    assert "pip install -e ." in capsys.readouterr().out


def test_what_nobody_foresaw_is_one_line(visit, doctor, monkeypatch):
    def explode(visit):
        raise ZeroDivisionError("over\nthere")
        yield

    monkeypatch.setattr(packages, "check_python", explode)
    code, found, lines = visit()
    assert code == 4 and lines[0].startswith("FAIL  python: ZeroDivisionError: over there;")
    assert found["run directory"], "and goes on"


def test_memory_that_does_not_suffice(visit, doctor, monkeypatch):
    def explode(visit):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training, "run_phases", explode)
    code, found, _ = visit()
    assert code == 4 and "smaller train.micro_batch_size" in found["networks"][1]


def test_gpu_that_torch_cannot_use(doctor, monkeypatch):
    monkeypatch.setattr(machine, "driver_lists_gpus", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (finding,) = machine.check_devices(Visit([]))
    assert finding.level == "warn" and "install a torch build" in finding.remedy


def test_help(doctor, capsys):
    assert doctor.main(["--help"]) == 0
    assert "--config configs/quickstart.yaml" in capsys.readouterr().out
