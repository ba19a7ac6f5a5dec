"""The doctor of the ops: on a machine with nothing, and with faults that it must name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from largegan.errors import EnvironmentFault
from largegan.ops import doctor
from largegan.ops.__main__ import main
from largegan.ops.runtime import backend, cubins, nvrtc
from tests.ops import emulator

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nobody_chose(monkeypatch, tmp_path):
    monkeypatch.setenv("LARGEGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(backend, "_environment", "auto")
    monkeypatch.setattr(doctor, "EXAMPLES", {"instance_norm_act": EXAMPLE})


ALL = dict(doctor.EXAMPLES)
EXAMPLE = doctor.EXAMPLES["instance_norm_act"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this is about machines without a GPU")
def test_no_compiler_on_the_path(tmp_path):
    """Neither gcc nor cc nor nvcc: the kernels are compiled all the same."""
    environment = {"PATH": str(tmp_path), "LARGEGAN_CACHE": str(tmp_path / "cache")}
    environment |= {k: v for k, v in os.environ.items() if k in ("HOME", "OMP_NUM_THREADS")}
    command = [sys.executable, "-m", "largegan.ops", "doctor"]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "ok    used: PyTorch's operations, because there is no NVIDIA GPU (none)"
    assert any(line.startswith("ok    compiler: NVRTC") for line in lines)
    assert any("batch_norm_act: 6 kernels for compute capability 9.0" in line for line in lines)
    assert len(list((tmp_path / "cache" / "kernels").glob("*.cubin"))) >= 6


@pytest.mark.skipif(torch.cuda.is_available(), reason="this is about machines without a GPU")
def test_what_it_says_without_a_compiler(monkeypatch, capsys):
    def none():
        raise EnvironmentFault("no NVRTC library was found")

    monkeypatch.setattr(nvrtc, "compiler", none)
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "warn  compiler: no NVRTC library was found" in said or torch.version.cuda is None
    monkeypatch.setattr(backend, "_environment", "require")
    assert main(["doctor"]) == 4
    assert "FAIL  used: PyTorch's operations, because there is no" in capsys.readouterr().out


def test_a_kernel_that_does_not_compile(monkeypatch, capsys):
    def refuse(*_):
        raise EnvironmentFault("NVRTC refuses norm.cu")

    monkeypatch.setattr(cubins, "binary", refuse)
    found = list(doctor._compiled(90))
    assert [f.level for f in found] == ["FAIL"] and "refuses norm.cu" in found[0].facts


def test_kernels_are_compared_with_pytorch():
    with backend.redirected(emulator.launch):
        errors, _ = doctor.errors_of(EXAMPLE, "cpu")
    assert max(errors) > 1e-4 and doctor.within_limits(errors)
    with backend.redirected(lambda plan: None):  # a kernel that does nothing
        errors, _ = doctor.errors_of(EXAMPLE, "cpu")
    assert not doctor.within_limits(errors)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_every_kernel_is_compared(name):
    with backend.redirected(emulator.launch):
        errors, _ = doctor.errors_of(ALL[name], "cpu")
    assert doctor.within_limits(errors)


@pytest.mark.parametrize(
    "mode, reason, level, said",
    [
        ("auto", "", "ok", "fused kernels"),
        ("eager", "", "ok", "because LARGEGAN_OPS is eager"),
        ("auto", "bias_act does not run", "FAIL", "where kernels fail: bias_act does not run"),
        ("require", "bias_act does not run", "FAIL", "nothing: LARGEGAN_OPS is require"),
        ("fast", "", "FAIL", "LARGEGAN_OPS is 'fast'"),
    ],
)
def test_verdicts(mode, reason, level, said, monkeypatch):
    monkeypatch.setattr(backend, "_environment", mode)
    finding = doctor._verdict(reason)
    assert finding.level == level and said in finding.facts


@pytest.mark.gpu
def test_everything_runs_and_agrees(capsys):
    assert main(["doctor"]) == 0, capsys.readouterr().out
    assert "ok    used: fused kernels" in capsys.readouterr().out
