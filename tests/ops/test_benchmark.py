"""benchmarks/ops.py, dry: every row it would measure on a GPU, in tiny sizes on the CPU."""

import contextlib
import json
import sys
from pathlib import Path

import pytest
import torch._functorch.config as autograd_config

from largegan.ops.runtime import backend
from tests.ops import emulator

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    """The script as a module; it imports its neighbors by their bare names."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import ops

    with autograd_config.patch(donated_buffer=True):  # it turns this off
        yield ops
    for name in ("ops", "networks", "train"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_dry_run_measures_everything(whole, bench, monkeypatch, tmp_path):
    import networks

    if not whole:  # 15 seconds instead of a minute
        some = {name: bench.CASES[name] for name in ("bias_act", "batch_norm_act")}
        monkeypatch.setattr(bench, "CASES", some)
        one = {"biggan-128": networks.NETWORKS["biggan-128"]}
        monkeypatch.setattr(networks, "NETWORKS", one)
    words = ["ops.py", "--device", "cpu", "--out", str(tmp_path), "--budget", "3600"]
    monkeypatch.setattr(sys, "argv", words)
    bench.main()
    (path,) = tmp_path.glob("*.json")
    content = json.loads(path.read_text())
    rows = content["rows"]
    assert content["dry_run"] and not content["left_out"]
    failed = [row for row in rows if "failed" in row]
    # A second derivative through torch.compile is refused, which is a row too.
    assert {row["failed"][:12] for row in failed} <= {"no CUDA grap", "RuntimeError"}
    assert all("double backward" in r["failed"] or r["variant"] == "graphed" for r in failed)
    measured = {(row["op"], row["variant"], row["way"]) for row in rows}
    for name in bench.CASES:
        for variant in ("kernel", "eager", "compiled"):
            for way in ("forward", "backward"):
                assert (name, variant, way) in measured
        assert (name, "kernel", "double backward") in measured or not bench.CASES[name].bytes[2]
    for name in networks.NETWORKS:
        assert (name, "kernel", "iteration") in measured
        assert (name, "eager", "losses and gradients") in measured
    assert all(row["error"] < 2e-2 for row in rows if "error" in row)
    # Where rounding turns a sign around, the slope is another.
    assert all(row["gradient_error"] < 0.1 for row in rows if "error" in row)
    text = path.with_suffix(".md").read_text()
    assert "| bias_act | kernel | forward |" in text and "longest kernels" in text


@pytest.mark.slow
def test_the_rows_of_kernels(bench, monkeypatch):
    """As on a GPU but for the driver, for which the emulator stands in."""

    @contextlib.contextmanager
    def using(variant: str):
        with backend.using("require"), backend.redirected(emulator.launch):
            yield

    one = bench.Bench("cpu", bench.Guard(3600.0))
    one.ceilings()
    monkeypatch.setattr(bench, "using", using)
    bench.per_op(one, bench.TINY, ("kernel",))
    assert not [row for row in one.rows if "failed" in row]
    assert len({row["op"] for row in one.rows}) == len(bench.CASES) + 3
    errors = [(row["error"], row["gradient_error"]) for row in one.rows if "error" in row]
    assert errors and max(a for a, _ in errors) < 2e-2 and max(b for _, b in errors) < 0.1


def test_the_guard_leaves_out_what_would_begin_too_late(bench, tmp_path):
    late = bench.Bench("cpu", bench.Guard(budget=-1.0))
    bench.measure(late)
    assert not late.rows and "ceilings" in late.left_out and len(late.left_out) > 20
    bench.write(late, "Nobody's GPU", tmp_path)
    assert json.loads((tmp_path / "gpu-ops-nobody-s-gpu.json").read_text())["left_out"]


def test_what_fails_is_a_row_and_written_at_once(bench):
    written = []
    one = bench.Bench("cpu", bench.Guard(60.0), save=lambda bench: written.append(len(bench.rows)))
    one.section("division", lambda: 1 / 0)
    assert one.rows[0]["failed"] == "ZeroDivisionError: division by zero"
    assert written == [1]


def test_sections_are_chosen_by_words(bench):
    one = bench.Bench("cpu", bench.Guard(60.0), wanted=["kernel", "host"])
    ran = []
    for name in ("biggan, kernel", "biggan, eager", "host cost"):
        one.section(name, lambda name=name: ran.append(name))
    assert ran == ["biggan, kernel", "host cost"] and not one.left_out
