"""The direction of imports: who may know whom (read from the source, nothing is imported)."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "largegan"
BASE = {"errors"}  # everyone may use these
MAY_IMPORT = {
    "train": None,  # everything
    "start": None,  # the first half of train
    "trainer": {"recipe", "parallel", "checkpoint", "health"},
    "log": {"trainer", "parallel", "recipe"},
    "run": {"config", "checkpoint", "lock"},
    "lock": set(),
    "config": {"recipes", "settings"},
    "settings": set(),
    "training_data": {"data", "recipe", "settings"},
    "checkpoint": set(),
    "finetune": {"checkpoint", "recipe", "recipes"},
    "health": {"parallel", "recipe"},
    "recipe": set(),
    "ema": {"recipe"},
    "losses": set(),
    "errors": set(),
    "pictures": set(),
    "films": {"pictures"},
    "command": set(),
    "projection": set(),
    "samples": {"recipe", "pictures"},
    "sheets": {"recipe", "recipes", "pictures", "samples", "checkpoint", "layers"},
    "gallery": {"sheets", "pictures"},
    "imagesets": {"data", "checkpoint", "sheets", "samples"},
    "training_scores": {
        "evaluation",
        "scores",
        "imagesets",
        "pictures",
        "sheets",
        "checkpoint",
        "parallel",
    },
    "scores": {"evaluation", "imagesets", "parallel"},
    "recipes": {"recipe", "nets", "layers", "losses", "augment", "ema"},
    "nets": {"layers", "ops"},
    "layers": {"ops"},
    "parallel": {"recipe"},
    "data": set(),
    "augment": {"ops"},
    "evaluation": {"ops"},
    "interop": {"checkpoint", "recipe", "recipes", "sheets"},
    "translation": {"checkpoint", "data", "interop", "pictures", "recipe", "sheets"},
    "cost": {"config", "ema", "parallel", "recipe", "recipes", "trainer", "training_data"},
    "doctor": {
        "config",
        "run",
        "checkpoint",
        "data",
        "recipe",
        "recipes",
        "settings",
        "trainer",
        "training_data",
        "parallel",
    },
    "ops": set(),
}
FILES = sorted(PACKAGE.rglob("*.py"))


def unit(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    me = unit(path)
    if me == "__init__":
        return
    allowed = MAY_IMPORT[me]
    for name in imported(path):
        parts = name.split(".")
        if parts[0] in ("tools", "tests"):
            raise AssertionError(f"{path} imports {name}")
        if parts[0] != "largegan" or len(parts) < 2 or allowed is None:
            continue
        assert parts[1] in allowed | BASE | {me}, f"{path} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_parallel_knows_ranks(path):
    if unit(path) == "parallel":
        return
    assert not [n for n in imported(path) if n.startswith("torch.distributed")]


def test_the_trainer_knows_no_paper():
    words = ("stylegan", "biggan", "cycle", "wgan", "gaussian")
    for name in ("trainer.py", "checkpoint.py", "health.py", "log.py"):
        text = (PACKAGE / name).read_text().lower()
        assert not [w for w in words if w in text], name


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_noise_does_not_follow_the_memory_format(path):
    """`randn_like` fills memory in order: a channels_last tensor would get other noise.

    Weights lie in other layouts on other machines; what a step draws must not follow them.
    """
    assert not re.search(r"\brand(n|int)?_like\(", path.read_text())
