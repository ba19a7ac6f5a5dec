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

# They take a minute or more: begun last, they would go on when all others have ended.
CLUSTER = "tests/slurm/"
LONG = (
    CLUSTER,
    "tests/parallel/test_product.py",
    "tests/test_resume.py",
    "tests/recipes/test_every_recipe.py",
    "tests/golden/test_golden.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=turn)


def turn(item: pytest.Item) -> int:
    """When it begins: its place in LONG, or after all of them."""
    starts = [item.nodeid.startswith(name) for name in LONG]
    return starts.index(True) if any(starts) else len(LONG)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """A file stays in one process, as its fixtures are dear; so do all that share a cluster, which
    wait more than they compute: in several processes all would wait at once.
    """
    if config.getoption("dist") != "loadfile":
        return None  # as somebody asked for
    from xdist.scheduler import LoadFileScheduling

    class LoadCluster(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return CLUSTER if nodeid.startswith(CLUSTER) else super()._split_scope(nodeid)

    return LoadCluster(config, log)


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
