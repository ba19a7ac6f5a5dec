"""Adding a GAN: one file, one row in the table, and the suite and the program know it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = '    "lsgan": ("lsgan:LSGAN", "least squares GAN (Mao et al., 2017)"),\n}'


def test_one_file_and_one_row(tmp_path):
    for folder in ("largegan", "tests"):
        ignore = shutil.ignore_patterns("__pycache__", "golden")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copy(Path(__file__).parent / "lsgan.py", tmp_path / "largegan/recipes/lsgan.py")
    table = tmp_path / "largegan/recipes/__init__.py"
    table.write_text(table.read_text().replace("\n}", "\n" + ROW, 1))

    def run(*words: str) -> str:
        env = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    suite = run(
        "-m", "pytest", "-q", "-n", "0", "tests/recipes/test_every_recipe.py", "-k", "lsgan"
    )
    assert "16 passed" in suite
    words = "-m largegan.train --recipe.name lsgan --train.total_nimg 16 --train.batch_size 8"
    assert "done: 16 images" in run(*words.split(), "--data.workers", "0", "--run.dir", "runs/a")
