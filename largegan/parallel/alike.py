"""What all ranks must have in common before they start: the same programs, the same disk."""

import hashlib
import platform
import socket
import time
from collections import Counter
from importlib import metadata
from pathlib import Path

import torch.distributed as dist

from largegan.errors import EnvironmentFault
from largegan.parallel.launch import World, contact

COMPARED = ("torch", "accelerate", "numpy", "safetensors", "largegan")
VISIBLE_WITHIN_S = 60.0  # network file systems show another machine's files late


def check_versions(world: World) -> None:
    """Raises `EnvironmentFault`, naming the odd rank, unless all run the same programs."""
    if world.size == 1:
        return
    ranks = gather(world, (socket.gethostname(), versions()))
    for program in ranks[0][1]:
        found = [facts[program] for _, facts in ranks]
        usual = Counter(found).most_common(1)[0][0]
        for rank, version in enumerate(found):
            if version != usual:
                raise EnvironmentFault(
                    f"rank {rank} on {ranks[rank][0]} runs {program} {version}, most ranks run "
                    f"{usual}; let all nodes use the same environment"
                )


def versions() -> dict[str, str]:
    """Program and version; of largegan also its source, which changes without its version."""
    found = {"Python": platform.python_version()}
    for package in COMPARED:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "(not installed)"
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    found["largegan"] += f" (source {digest.hexdigest()[:8]})"
    return found


def check_shared(
    world: World, folder: Path, note: str, text: str, *, patience_s: float = VISIBLE_WITHIN_S
) -> None:
    """Raises `EnvironmentFault`, naming nodes, unless all see `text` in rank 0's `folder/note`."""
    if world.size == 1:
        return
    deadline = time.monotonic() + patience_s
    while not (seen := _holds(folder / note, text)) and time.monotonic() < deadline:
        time.sleep(0.2)
    ranks = gather(world, (socket.gethostname(), seen))
    blind = sorted({host for host, seen in ranks if not seen})
    if blind:
        raise EnvironmentFault(
            f"run directory {folder.absolute()} is not shared: {', '.join(blind)} cannot see what "
            f"rank 0 on {ranks[0][0]} writes there; choose a --run.dir that all nodes mount"
        )


def gather(world: World, mine: object) -> list:
    """Every rank's object, in order of ranks, on every rank."""
    if world.size == 1:
        return [mine]
    everyone: list = [None] * world.size
    with contact():
        dist.all_gather_object(everyone, mine)
    return everyone


def _holds(path: Path, text: str) -> bool:
    try:
        return text in path.read_text()
    except OSError:
        return False
