"""The direction of imports: who may know whom (read from the source, nothing is imported)."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "largegan"
# Everyone may use these: sentences, and the two doors with the ranges of settings.
BASE = {"errors", "files"}
MAY_IMPORT = {
    # The programs: they know everybody, and nobody knows them.
    "__main__": {"commands"},
    "commands": {
        "api",
        "checkpoint",
        "cli",
        "data",
        "doctor",
        "evaluation",
        "interop",
        "layers",
        "metrics",
        "parallel",
        "restore",
        "run",
        "sampler",
        "translation",
        "viz",
    },
    # The entry and one run's life, from the top down.
    "train": {"config", "doctor", "parallel", "run"},
    "run": {
        "checkpoint",
        "config",
        "data",
        "evaluation",
        "ema",
        "health",
        "metrics",
        "ops",
        "parallel",
        "recipe",
        "recipes",
        "sampler",
        "trainer",
        "viz",
    },
    "doctor": {
        "config",
        "data",
        "parallel",
        "recipe",
        "run",
        "trainer",
    },
    "trainer": {"health", "parallel", "recipe"},
    "health": {"recipe"},
    # What is done with a trained network.
    "api": {
        "metrics",
        "recipe",
        "restore",
        "sampler",
        "translation",
        "viz",
    },
    "evaluation": {
        "data",
        "metrics",
        "parallel",
        "restore",
        "sampler",
    },
    "translation": {"data", "recipe", "restore"},
    # Importers know the networks that they fill, and the run that they write.
    "interop": {
        "augment",
        "checkpoint",
        "config",
        "layers",
        "nets",
        "ops",
        "recipe",
        "recipes",
        "restore",
    },
    "viz": {"recipe", "sampler"},
    "sampler": {"recipe", "restore"},
    "restore": {"checkpoint", "ema", "recipe", "recipes"},
    # Settings.
    "config": {"metrics", "recipes"},
    # The papers, from the top down.
    "recipes": {"augment", "ema", "layers", "losses", "nets", "recipe"},
    "nets": {"layers", "metrics", "ops"},  # metrics: feature networks and their weights
    "layers": {"ops"},
    "augment": {"ops"},
    "ema": {"recipe"},
    "parallel": {"recipe"},
    # The ground: these know nobody.
    "recipe": set(),
    "files": set(),
    "losses": set(),
    "checkpoint": set(),
    "data": set(),
    "metrics": {"losses", "ops"},
    "ops": set(),
    "cli": set(),
    "errors": set(),
}
# Modules of the old house: they may not come back, in the root or under another room's name.
MOVED = (
    "command",
    "cost",
    "demo",
    "films",
    "finetune",
    "gallery",
    "imagesets",
    "lock",
    "log",
    "pictures",
    "power_ema",
    "projection",
    "published",
    "ranges",
    "samples",
    "scores",
    "settings",
    "sheets",
    "start",
    "training_data",
    "training_scores",
)
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
        if parts[0] != "largegan" or len(parts) < 2:
            continue
        assert parts[1] in allowed | BASE | {me}, f"{path} imports {name}"


def test_the_root_holds_what_a_newcomer_opens():
    rooms = {path.stem for path in PACKAGE.glob("*.py")}
    assert not rooms & set(MOVED)
    assert rooms <= set(MAY_IMPORT) | {"__init__"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_parallel_knows_ranks(path):
    if unit(path) == "parallel":
        return
    assert not [n for n in imported(path) if n.startswith("torch.distributed")]


def test_the_trainer_knows_no_paper():
    words = ("stylegan", "biggan", "cycle", "wgan", "gaussian")
    for name in ("trainer.py", "checkpoint/__init__.py", "health/steps.py", "run/log.py"):
        text = (PACKAGE / name).read_text().lower()
        assert not [w for w in words if w in text], name


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_noise_does_not_follow_the_memory_format(path):
    """`randn_like` fills memory in order: a channels_last tensor would get other noise.

    Weights lie in other layouts on other machines; what a step draws must not follow them.
    """
    assert not re.search(r"\brand(n|int)?_like\(", path.read_text())
