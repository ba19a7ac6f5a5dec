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

from largegan.evaluation import host_memory

# They take minutes, much of them waiting: begun last, they would go on when all others have ended.
LONG = "tests/slurm/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)  # again for each test: commands that run within one take more


@pytest.fixture(autouse=True)
def memory_is_given_back(monkeypatch):
    """Commands that score run within the tests, and would keep what they freed until the end."""
    monkeypatch.setattr(host_memory, "keep_freed_memory", lambda: True)


def stay_with_one_thread() -> None:
    """In a process that a test forks: its threads are not there, and OpenMP would wait for them."""
    torch.set_num_threads(1)
    torch.set_num_threads = lambda count: None


os.register_at_fork(after_in_child=stay_with_one_thread)


@pytest.fixture(scope="session")
def runs_of_recipes(tmp_path_factory) -> Path:
    """Where `tests.product.runs.trained` keeps its runs: each is made once a session."""
    return tmp_path_factory.mktemp("recipes")
