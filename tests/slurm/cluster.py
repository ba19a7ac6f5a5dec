"""A real SLURM on this machine for the tests: munged, slurmctld, and a slurmd per node."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.parallel.launching import ROOT, clean_environment, patience

SCRIPT = ROOT / "tests/slurm/slurm_cluster.sh"
TRAIN = ROOT / "slurm/train.sbatch"
NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "unshare", "nsenter", "ip")
FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")


def missing() -> str | None:
    """Why no cluster can be started here, or None."""
    if os.geteuid() != 0:
        return "a SLURM of our own needs root"
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    absent = [name for name in NEEDED if not shutil.which(name, path=path)]
    if absent:
        return f"no {', '.join(absent)}; {SCRIPT.relative_to(ROOT)} install"
    return None


class Cluster:
    """Nodes node1 ... nodeN; jobs are submitted from the clone, as a person would."""

    def __init__(self, nodes: int, tracking: str, name: str):
        self.dir = Path(tempfile.gettempdir()) / f"lg-{os.getpid()}-{name}"
        self.env = clean_environment() | {
            "LG_SLURM_DIR": str(self.dir),
            "LG_SLURM_PROCTRACK": tracking,
            "LG_SLURM_CPUS": "64",  # pretended: many jobs of the tests run at once
            "SLURM_CONF": str(self.dir / "etc/slurm.conf"),
        }
        try:
            self.manage("up", str(nodes))
        except RuntimeError:  # network namespaces are not permitted everywhere
            self.manage("down")
            self.env["LG_SLURM_NET"] = "loopback"
            self.manage("up", str(nodes))

    def manage(self, *words: str) -> str:
        return _run([str(SCRIPT), *words], self.env)

    def close(self) -> None:
        self.manage("down")

    def submit(self, run: Path, *options: str, sbatch: tuple[str, ...] = (), **settings) -> "Job":
        """`sbatch slurm/train.sbatch OPTIONS`: two nodes, two processes on each."""
        settings = {"RUN": run, "VENV": "none", "PROCESSES": 2, "OMP_NUM_THREADS": 1} | settings
        env = self.env | {name: str(value) for name, value in settings.items()}
        env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
        if settings.get("MODULE") == "tests.slurm.standin":
            env["PATH"] = f"{ROOT}/tests/slurm/bin:{env['PATH']}"
        log = run.with_suffix(".out")
        resources = ("--nodes=2", "--gpus-per-node=0", "--cpus-per-task=2")
        words = ["sbatch", "--parsable", f"--output={log}", *resources, *sbatch, str(TRAIN)]
        number = _run([*words, *map(str, options)], env).strip()
        return Job(self, number, run, log)

    def client(self, *words: str) -> str:
        return _run(list(words), self.env)


class Job:
    """One submitted job, its run directory and its log."""

    def __init__(self, cluster: Cluster, number: str, run: Path, log: Path):
        self.cluster, self.number, self.run, self.log = cluster, number, run, log

    def facts(self) -> dict[str, str]:
        """What `scontrol show job` says."""
        shown = self.cluster.client("scontrol", "-o", "show", "job", self.number)
        return dict(word.split("=", 1) for word in shown.split() if "=" in word)

    def until(self, condition, timeout_s: float = 900) -> None:
        """Waits for something that this job does; fails at once when the job has ended without."""
        deadline = time.monotonic() + patience(timeout_s)
        while not condition():
            ended = self.facts()["JobState"] in FINAL
            if ended and not condition():
                raise AssertionError(f"the job ended too early:\n{self.report()}")
            assert time.monotonic() < deadline, self.report()
            time.sleep(0.1)

    def end(self, timeout_s: float = 900) -> str:
        """Waits for the job to end by itself; its final state."""
        deadline = time.monotonic() + patience(timeout_s)
        while (state := self.facts()["JobState"]) not in FINAL:
            assert time.monotonic() < deadline, self.report()
            time.sleep(0.1)
        return state

    def complete(self, timeout_s: float = 900) -> None:
        state = self.end(timeout_s)
        assert state == "COMPLETED", self.report()

    def signal(self, *words: str) -> None:
        self.cluster.client("scancel", *words, self.number)

    def restarts(self) -> int:
        return int(self.facts()["Restarts"])

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def crashed(self) -> bool:
        """Whether training printed a traceback.

        Torch's launcher prints its own, with a time before it, when another node's was done first.
        """
        return bool(re.search(r"^\d+: (\[rank\d+\]: )?Traceback", self.said(), re.MULTILINE))

    def report(self) -> str:
        return f"{self.facts()}\n{self.said()}"

    def events(self, what: str | None = None) -> list[dict]:
        """What the stand-ins noted, of all ranks."""
        lines = [
            json.loads(line)
            for file in sorted(self.run.glob("events-*"))
            for line in file.read_text().splitlines()
        ]
        return [line for line in lines if what in (None, line["what"])]


def _run(words: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(
        words, env=env, cwd=ROOT, capture_output=True, text=True, timeout=patience(120)
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout
