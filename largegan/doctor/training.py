"""The configuration, what it builds, and one step of every phase on real data."""

import time
from collections.abc import Iterator, Mapping
from functools import partial

import torch

from largegan.config.parse import parse
from largegan.data.transforms import to_device
from largegan.doctor.data import training_stream
from largegan.doctor.finding import Finding, Visit
from largegan.parallel.alike import gather
from largegan.parallel.choose import choose
from largegan.parallel.engine import Engine
from largegan.recipe import Batch, Phase, Progress
from largegan.run.data import check_vectors, framing_of, give_conditions, spec_of
from largegan.run.recipe import new_recipe
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
    """Builds what the configuration asks for, and takes one step of every phase with it."""
    if not visit.config:
        return
    # What follows needs all ranks: one whose data failed must not be waited for.
    if not all(gather(visit.world, visit.source is not None)):
        if visit.source is not None:
            yield Finding("", "networks", "not tried, for another process cannot read the data")
        visit.source = None
        return
    config = visit.config
    visit.spec = spec_of(config.data, visit.source)
    torch.manual_seed(config.train.seed)
    visit.recipe = new_recipe(config, visit.spec)
    check_vectors(config.recipe.name, type(visit.recipe), visit.spec)
    give_conditions(visit.recipe, visit.source)
    sizes = ", ".join(
        f"{name} {sum(p.numel() for p in player.parameters()) / 1e6:.2f} M"
        for name, player in visit.recipe.players.items()
    )
    yield Finding("ok", "networks", f"parameters: {sizes}")
    engines = alone(config.parallel.engine) if visit.size == 1 else None
    if engines is not None:
        facts = f"{engines} needs several processes, and this is one: not tried"
        yield Finding("warn", "engine", facts, "start the doctor as training will be started")
    yield from run_phases(visit, None if engines else config.parallel.engine)


def alone(engine: str | Mapping[str, str] | None) -> str | None:
    """The engine of a configuration that one process cannot try."""
    names = [engine] if isinstance(engine, str) else list((engine or {}).values())
    return next((name for name in names if name != "replicated"), None)


def run_phases(visit: Visit, engine: str | Mapping[str, str] | None) -> Iterator[Finding]:
    trainer = build_trainer(visit, engine)
    micro = trainer.next_micro_batches()[:1]
    trainer.stream.close()
    spent, fine = [], True
    for index, phase in enumerate(visit.recipe.phases):
        start = time.perf_counter()
        culprit = try_phase(trainer, index, phase, micro)
        spent.append(f"{phase.name} {time.perf_counter() - start:.3f} s")
        if culprit is not None:
            facts = f"the first step of {phase.name} is not finite: {culprit}"
            yield Finding("FAIL", "phases", facts, "check the recipe's options")
            fine = False
    with trainer.engine.after_iteration():
        visit.recipe.after_iteration(Progress(1, trainer.batch_size), trainer.batch_size)
    peak = ""
    if visit.device.type == "cuda":
        peak = f"; peak memory {torch.cuda.max_memory_allocated(visit.device) / 2**30:.1f} GiB"
    size = len(micro[0][visit.recipe.reads[0]])
    facts = (
        f"one step each with {trainer.engine} and a micro-batch of {size}, first time: "
        f"{', '.join(spent)}{peak}"
    )
    visit.trainer = trainer if fine else None
    yield Finding("ok" if fine else "", "phases", facts)


def build_trainer(visit: Visit, engine: str | Mapping[str, str] | None) -> Trainer:
    """As training would."""
    config, parallel = visit.config, visit.config.parallel
    shares = choose(
        engine,
        visit.recipe,
        visit.world,
        deepspeed=parallel.deepspeed,
        overlap=parallel.overlap,
        precision=config.train.precision,
    )
    made = Engine(visit.world, shares)
    made.setup(visit.recipe)
    train, stream = config.train, training_stream(visit)
    return Trainer(
        visit.recipe,
        made,
        stream,
        to_device=partial(to_device, framing=framing_of(config.data)),
        batch_size=train.batch_size,
        micro_batch_size=stream.share.micro_batch_size,
        seed=train.seed,
        precision=train.precision,
        max_grad_norm=train.max_grad_norm,
    )


def try_phase(trainer: Trainer, index: int, phase: Phase, micro: list[Batch]) -> str | None:
    """One step; what was not finite, if something was."""
    report = trainer.run_phase(phase, micro, (index, 0))  # its check waits for the device
    return None if report.finite else report.culprit
