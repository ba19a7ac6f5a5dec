"""Does the suite notice? The core is broken in eight known ways, one at a time, in a copy."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# name: (file, what stands there, what the mutant says, tests that must notice)
EVERY, RANKS = "tests/recipes/test_every_recipe.py", "tests/recipes/test_two_ranks.py"
MUTANTS = {
    "optimizer state is not saved": (
        "largegan/parallel/replicated.py",
        "                if value is not None:  # as SGD without momentum keeps it",
        "                if field == 'step':",
        f"{EVERY}::test_resume_is_bit_exact",
    ),
    "the average is not registered": (
        "largegan/ema/__init__.py",
        "        self.net = copy.deepcopy(net).requires_grad_(False).eval()",
        "        object.__setattr__(self, 'net', copy.deepcopy(net).requires_grad_(False).eval())",
        f"{EVERY}::test_resume_is_bit_exact",
    ),
    "spectral-norm vectors are not saved": (
        "largegan/layers/spectral_norm.py",
        "self.register_buffer(name, F.normalize(start, dim=1, eps=spectral.eps))",
        "self.register_buffer(name, F.normalize(start, dim=1), persistent=False)",
        f"{EVERY}::test_resume_is_bit_exact",
    ),
    "the data position is not restored": (
        "largegan/trainer.py",
        '        self.stream.load_state_dict(state["data"])\n',
        "",
        f"{EVERY}::test_resume_is_bit_exact",
    ),
    "noise comes from the global generator": (
        "largegan/trainer.py",
        "        torch.default_generator.manual_seed(value)",
        "        del value",
        f"{EVERY}::test_noise_depends_on_progress_alone",
    ),
    "the other players are not frozen": (
        "largegan/parallel/engine.py",
        "                p.requires_grad_(name == player)",
        "                p.requires_grad_(True)",
        f"{EVERY}::test_a_phase_moves_only_its_player",
    ),
    "a lazy phase does not weigh its interval": (
        "largegan/trainer.py",
        "scale = phase.every / self.micro_batches",
        "scale = 1 / self.micro_batches",
        f"{EVERY}::test_lazy_phase_weighs_its_interval",
    ),
    "micro-batches are summed, not averaged": (
        "largegan/trainer.py",
        "scale = phase.every / self.micro_batches",
        "scale = phase.every",
        f"{EVERY}::test_accumulation_equals_one_big_batch",
    ),
    "gradients are not reduced over ranks": (
        "largegan/parallel/reduce.py",
        "        trip = Trip.start([*(p.grad for p in bucket), *extras])",
        "        trip = Trip.start([*(p.grad.clone() for p in bucket), *extras])",
        f"{RANKS}::test_ranks_hold_the_same",
    ),
}


@pytest.fixture(scope="module")
def runner():
    words = [sys.executable, str(Path(__file__).with_name("runner.py"))]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, env=env, text=True, cwd="/", **pipes) as process:
        yield process
        process.stdin.close()


@pytest.mark.parametrize("name", MUTANTS)
def test_the_suite_notices(name, tmp_path, runner):
    file, original, broken, noticed_by = MUTANTS[name]
    for folder in ("largegan", "tests"):
        ignore = shutil.ignore_patterns("__pycache__", "data", "golden", "bundled")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    log = tmp_path / "log"
    if name == next(iter(MUTANTS)):
        assert run(runner, noticed_by, tmp_path, log) == 0, log.read_text()[-2000:]
    path = tmp_path / file
    text = path.read_text()
    assert text.count(original) == 1, f"{file} changed: bring the mutant up to date"
    path.write_text(text.replace(original, broken))
    code = run(runner, noticed_by, tmp_path, log)
    assert code == 1, f"nobody noticed\n{log.read_text()[-2000:]}"


def run(runner: subprocess.Popen, test: str, folder: Path, log: Path) -> int:
    # sngan has every kind of state; wgan_gp's second-order phase covers the rest.
    words = ["-q", "-x", "-n", "0", "-p", "no:cacheprovider", test, "-k", "sngan"]
    print(json.dumps([str(folder), str(log), *words]), file=runner.stdin, flush=True)
    return int(runner.stdout.readline())
