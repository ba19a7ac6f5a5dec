"""Shared by all tests: one thread, so that results do not depend on the machine."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests start many programs that import torch. Without cached bytecode, which some containers
# forbid, each of them compiles torch's sources first: 6.3 instead of 2.7 s of CPU time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def runs_of_recipes(tmp_path_factory) -> Path:
    """Where `tests.product.runs.trained` keeps its runs: each is made once a session."""
    return tmp_path_factory.mktemp("recipes")
