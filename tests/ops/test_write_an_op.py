"""docs/write-an-op.md is done word by word in a copy of the package, and does what it says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import indent

import pytest

from largegan.ops.table import markdown
from tests.ops import emulator

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "write-an-op.md"
BLOCK = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
PARTS = ("largegan", "tests/__init__.py", "tests/conftest.py", "tests/ops", "pyproject.toml")


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The package with the guide's op in it."""
    folder = tmp_path_factory.mktemp("copy")
    for part in PARTS:
        source, target = ROOT / part, folder / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)
    for name, text in BLOCK.findall(GUIDE.read_text()):
        write(folder / name, text)
    return folder


def write(path: Path, text: str) -> None:
    """A new file, or lines for one that is there."""
    if path.name == "table.py":
        row = indent(text.rstrip(), " " * 8)
        known = path.read_text().replace("\n    )\n}\n", f"\n{row},\n    )\n}}\n")
        line = "from largegan.ops.modulate import reference as modulate\n"
        path.write_text(known.replace(line, line.replace("modulate", "merge") + line))
    elif path.exists():
        known = path.read_text().replace("\nfrom largegan", f"\n{text}from largegan", 1)
        path.write_text(known.replace('    "modulate",\n', '    "merge",\n    "modulate",\n'))
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def run(folder: Path, *words: str) -> str:
    """The output of a Python module that succeeds."""
    environment = os.environ | {"PYTHONPATH": str(folder), "LARGEGAN_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.mark.skipif(emulator.compiler is None, reason="needs g++")
def test_the_tests_of_the_table_pass_with_the_new_op(copy):
    words = ["merge or row or wheel or every_operator or alone or chain or loader"]
    files = [f"tests/ops/test_{name}.py" for name in ("table", "registered", "imports")]
    said = run(copy, "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *files, "-k", *words)
    passed = int(re.search(r"(\d+) passed", said)[1])
    assert passed >= 10 and "failed" not in said


def test_the_doctor_knows_the_new_op(copy):
    said = run(copy, "largegan.ops", "table")
    assert "| `merge` | Add two images" in said and "`merge.cu`" in said


def test_the_table_of_the_guide_is_the_table():
    assert GUIDE.read_text().endswith(markdown())
