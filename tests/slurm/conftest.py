"""Clusters for these tests: one per way of tracking processes, for the whole session."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, missing


def open_cluster(nodes: int, tracking: str, name: str) -> Cluster:
    """Skips where no cluster can run; LARGEGAN_TEST_SLURM=must, as in .ci/run, fails instead."""
    refuse = pytest.fail if os.environ.get("LARGEGAN_TEST_SLURM") == "must" else pytest.skip
    if why := missing():
        refuse(why)
    sweep_up()
    try:
        return Cluster(nodes, tracking, name)
    except RuntimeError as fault:
        refuse(f"this machine cannot run a SLURM of its own: {str(fault).strip()[-400:]}")


def sweep_up() -> None:
    """Takes down what a killed test session left: its process number is in the name."""
    for left in Path(tempfile.gettempdir()).glob("lg-*-*"):
        number = left.name.split("-")[1]
        if number.isdigit() and not Path(f"/proc/{number}").exists():
            script = Path(__file__).parent / "slurm_cluster.sh"
            os.system(f"LG_SLURM_DIR={left} {script} down")
            shutil.rmtree(left, ignore_errors=True)


@pytest.fixture(scope="session")
def cluster():
    """Three nodes that track processes by group: what cgroups at real sites do to signals."""
    made = open_cluster(3, "pgid", "group")
    yield made
    made.close()


@pytest.fixture(scope="session")
def tree_cluster():
    """Two nodes that track processes as a tree: everybody gets every signal."""
    made = open_cluster(2, "linuxproc", "tree")
    yield made
    made.close()
