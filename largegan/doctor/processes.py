"""What the launcher said, and whether all its processes are in one group."""

import os
from collections.abc import Iterator

import torch

from largegan.doctor.finding import Finding, Visit
from largegan.parallel.engine import Engine
from largegan.parallel.launch import World, connect


def check_processes(visit: Visit) -> Iterator[Finding]:
    """Joins the group that training would join."""
    claims = [os.environ.get(name, "1") for name in ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS")]
    several = [claim for claim in claims if int(claim) > 1]
    if several:
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        # Before, not after: a firewall shows itself by nothing happening from here on.
        yield Finding("", "processes", f"waiting for {several[0]} at {where}")
    config = visit.config
    world = connect(
        config.parallel.processes if config else None,
        cpu_threads=config.train.cpu_threads if config else None,
    )
    visit.world = world
    visit.rank, visit.size, visit.device = world.rank, world.size, world.device
    if world.size == 1:
        yield Finding("ok", "processes", f"1, on {world.device}")
    else:
        yield reduction(world)


def reduction(world: World) -> Finding:
    """The mean of all ranks, which everybody knows beforehand."""
    ranks = torch.tensor([float(world.rank)], device=world.device)
    mean = float(Engine(world).mean(ranks))
    if mean == (world.size - 1) / 2:
        return Finding("ok", "processes", f"{world.size} in one group, a reduction is right")
    facts = f"a reduction over {world.size} ranks gave {mean}"
    remedy = "check the network between the nodes, and NCCL_DEBUG=INFO"
    return Finding("FAIL", "processes", facts, remedy)
