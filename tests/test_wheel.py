"""The wheel: it has every file that the package needs, and trains without a clone."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = "from setuptools import build_meta; build_meta.build_wheel('dist')"
SHORT = ["--train.total_nimg", "64", "--train.sample_every_nimg", "64", "--train.cpu_threads", "1"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, by the backend that `uv build` and `python -m build` call."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("largegan", "configs"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-c", BUILD], cwd=copy, check=True, capture_output=True)
    (built,) = (copy / "dist").glob("*.whl")
    return built


def install(wheel: Path, *words: str | Path) -> None:
    command = ["uv", "pip", "install", "-q", *map(str, words), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def needs(suffixes: tuple[str, ...], folder: str) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*")
        if path.suffix in suffixes and path.is_file()
    }


def test_the_wheel_has_every_file(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        (entries,) = (name for name in inside if name.endswith("entry_points.txt"))
        assert "largegan = largegan.commands:program" in archive.read(entries).decode()
    code, data = (
        needs((".py", ".cu", ".cuh", ".css", ".js"), "largegan"),
        needs((".tar", ".json"), "largegan"),
    )
    assert len(code) > 150 and len(data) >= 2
    assert code | data | needs(("",), "largegan/data/bundled") <= inside
    presets = {Path(name).name for name in inside if "/share/largegan/configs/" in name}
    assert presets == {path.name for path in (ROOT / "configs").glob("*.yaml")}
    assert not [name for name in inside if name.startswith(("tests", "tools", "benchmarks"))]


@pytest.mark.skipif(not shutil.which("uv"), reason="uv installs the wheel")
def test_an_installed_wheel_trains_a_preset(wheel, tmp_path):
    """Its own files alone, elsewhere than the clone; packages that it needs are this Python's."""
    install(wheel, "--no-deps", "--target", tmp_path / "site")
    program = "import largegan.commands as c; print(c.__file__); c.program()"
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    words = ["train", "--config", "quickstart", "--run.dir", "run", *SHORT]
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "site"))
    assert (tmp_path / "run/checkpoints/000000064/COMPLETE").is_file()
    assert (tmp_path / "run/samples/fakes-000000064.png").is_file()


@pytest.mark.slow
def test_the_wheel_trains_in_an_empty_environment(wheel, tmp_path):
    """Nothing of this Python or of the clone; packages come from the index."""
    place = tmp_path / "venv"
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    subprocess.run(["uv", "venv", "-q", "--python", version, str(place)], check=True)
    install(wheel, "--python", place / "bin/python")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    words = ["train", "--config", "quickstart", "--train.cpu_threads", "1"]
    words += ["--train.total_nimg", "2000", "--train.sample_every_nimg", "2000"]
    for command in (words, ["sample", "runs/quickstart", "sheet.png", "--count", "4"]):
        done = subprocess.run(
            [place / "bin/largegan", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "sheet.png").is_file()
