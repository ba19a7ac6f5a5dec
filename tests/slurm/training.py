"""Real trainings of the tests' recipe: as jobs that stand still when asked to, or without SLURM."""

import filecmp
import json
from pathlib import Path

from largegan import checkpoint
from tests import forked
from tests.parallel.launching import free_port, patience
from tests.slurm import double
from tests.slurm.cluster import Cluster, Job

ITERATIONS, BATCH, SAVE_EVERY = 24, 8, 8
IMAGES = ITERATIONS * BATCH
MODULE = "tests.slurm.double"
TERMS = ("/real", "/fake", "/adv", "/pl", "/r1", "/grad_norm")

OPTIONS = {
    "recipe.name": "double",
    "data.path": "bundled:noto32",
    "data.resize": 16,
    "train.total_nimg": IMAGES,
    "train.batch_size": BATCH,
    "train.micro_batch_size": 2,
    "train.log_every_nimg": BATCH,
    "train.save_every_nimg": SAVE_EVERY * BATCH,
    "train.sample_every_nimg": 10**6,
    "train.sample_rows": 2,
    "train.cpu_threads": 1,
}


def options(**more) -> list[str]:
    """Every iteration is logged, every eighth is saved."""
    return [word for k, v in (OPTIONS | more).items() for word in (f"--{k}", str(v))]


def without_slurm(run: Path, world: int, *extra: str) -> Path:
    """The same training, undisturbed, as `world` processes of this machine."""
    port, ranks = str(free_port()), []
    for rank in range(world):
        env = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        env = {k: str(v) for k, v in env.items()} if world > 1 else {}
        words = [*options(**{"data.workers": 0}), "--run.dir", str(run), *extra]
        log = str(run.with_suffix(f".{rank}.log"))
        ranks.append(forked.CONTEXT.Process(target=double.program, args=(words, log, env)))
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(patience(900))
    assert all(p.exitcode == 0 for p in ranks), run.with_suffix(".0.log").read_text()
    return run


def losses(run: Path) -> list[dict]:
    """What every line about steps says; those about samples are not of steps."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "step" in line]
    return [{k: v for k, v in x.items() if k == "nimg" or k.endswith(TERMS)} for x in steps]


def same_bytes(run: Path, other: Path) -> None:
    for file in (checkpoint.MODEL, checkpoint.OPTIMIZER):
        a, b = (folder / f"checkpoints/{IMAGES:09d}" / file for folder in (run, other))
        assert filecmp.cmp(a, b, shallow=False), f"{file} differs"


def submit(cluster: Cluster, folder: Path, *words: str, **settings) -> Job:
    """A job that will stand still in the middle of an iteration; see `double.hold`."""
    folder.mkdir()
    return cluster.submit(folder / "run", *words, MODULE=MODULE, HOLD=folder, **settings)


def held(job: Job) -> tuple[str, str]:
    """Waits until the job stands still; node and process of the rank that the others wait for."""
    file = job.run.with_name("held")
    job.until(file.exists)
    node, pid = file.read_text().split()
    return node, pid


def go_on(job: Job) -> None:
    job.run.with_name("go").touch()
