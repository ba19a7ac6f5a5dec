"""The configuration, the networks it builds, and one pass of every phase over real data."""

import math
import time
from collections.abc import Iterator
from functools import partial

import torch

from largegan.config.parse import parse, recipe_options
from largegan.data import framed
from largegan.data.transforms import to_device
from largegan.doctor.data import training_stream
from largegan.doctor.finding import Finding, Visit
from largegan.parallel.engine import Engine
from largegan.parallel.launch import World
from largegan.recipe import Batch, DataSpec, Phase
from largegan.recipes import build
from largegan.run.data import framing_of
from largegan.trainer import Trainer


def check_config(visit: Visit) -> Iterator[Finding]:
    if not visit.argv:
        facts = "none given; --config FILE checks it, its data and networks"
        yield Finding("ok", "config", facts)
        return
    visit.config = config = parse(visit.argv)
    train = config.train
    yield Finding(
        "ok",
        "config",
        f"recipe {config.recipe.name}, batch {train.batch_size}, {train.total_nimg} images, "
        f"{train.precision}, engine {config.parallel.engine}",
    )


def check_networks(visit: Visit) -> Iterator[Finding]:
    """Builds the networks and runs every phase once, forward and backward, without stepping."""
    if not visit.config or not visit.source:
        return
    config = visit.config
    info = framed(visit.source, framing_of(config.data))
    spec = DataSpec(info.channels, info.height, info.width, info.num_classes, info.channels_b)
    torch.manual_seed(config.train.seed)
    visit.recipe = build(config.recipe.name, spec, recipe_options(config))
    sizes = ", ".join(
        f"{name} {sum(p.numel() for p in player.parameters()) / 1e6:.2f} M"
        for name, player in visit.recipe.players.items()
    )
    yield Finding("ok", "networks", f"parameters: {sizes}")
    yield from run_phases(visit)


def run_phases(visit: Visit) -> Iterator[Finding]:
    trainer = build_trainer(visit)
    micro = trainer.next_micro_batches()[0]
    trainer.stream.close()
    spent = []
    for phase in visit.recipe.phases:
        start = time.perf_counter()
        value = try_phase(trainer, phase, micro)
        spent.append(f"{phase.name} {time.perf_counter() - start:.3f} s")
        if not math.isfinite(value):
            facts = f"phase {phase.name} gives a loss of {value} at the start"
            yield Finding("FAIL", "networks", facts, "check the recipe's options")
    peak = ""
    if visit.device.type == "cuda":
        peak = f"; peak memory {torch.cuda.max_memory_allocated(visit.device) / 2**30:.1f} GiB"
    size = len(micro[visit.recipe.reads[0]])
    facts = f"one micro-batch of {size}, forward and backward, first time: {', '.join(spent)}{peak}"
    yield Finding("ok", "phases", facts)


def build_trainer(visit: Visit) -> Trainer:
    """As training would, for this process alone."""
    # A world of one: a rank whose data failed does not come here, and must not be waited for.
    engine = Engine(World(0, 1, visit.device))
    engine.setup(visit.recipe)
    train, stream = visit.config.train, training_stream(visit)
    return Trainer(
        visit.recipe,
        engine,
        stream,
        to_device=partial(to_device, framing=framing_of(visit.config.data)),
        batch_size=train.batch_size,
        micro_batch_size=stream.share.micro_batch_size,
        seed=train.seed,
        precision=train.precision,
    )


def try_phase(trainer: Trainer, phase: Phase, micro: Batch) -> float:
    """The loss of one phase, after its backward pass."""
    trainer.engine.begin(phase.player, second_order=phase.second_order)
    with trainer.autocast(phase):
        loss = sum(phase.loss(micro, trainer.at).values())
    trainer.engine.backward(loss, last=True)
    return float(loss.detach())  # waits for the device
