"""`python -m largegan.train ... --dry-run`: what the configured run would cost. Starts nothing."""

import os
from collections.abc import Iterator, Mapping
from functools import partial

import torch
from jsonargparse import Namespace

from largegan.doctor.count import Count, count
from largegan.doctor.estimate import ASSUMED, Iteration, Setting, iteration, memory_gib, phase_s
from largegan.doctor.hardware import GPUS, assumptions
from largegan.errors import DataError
from largegan.parallel.choose import choose, chosen_engines
from largegan.parallel.launch import World
from largegan.recipe import DataSpec
from largegan.run.data import open_source, spec_of
from largegan.run.recipe import new_recipe, recipe_of
from largegan.trainer import micro_batch_size

UNKNOWN_RESOLUTION = 256


def dry_run(config: Namespace, env: Mapping[str, str] = os.environ) -> str:
    """The whole answer, as text. Raises `ConfigError` for what a real start would refuse."""
    counted, setting, known = planned(config, config.dry_run, env)
    lines = [
        "dry run: nothing is trained or written; an estimate, nothing here was measured",
        f"recipe        {config.recipe.name} on {known}",
        *counted_lines(counted, setting),
        *memory_lines(counted, setting),
        *time_lines(iteration(counted, setting), config.train.total_nimg, setting),
        "assumed",
        *(f"  - {sentence}" for sentence in (*assumptions(setting.gpu), *ASSUMED)),
    ]
    return "\n".join(lines)


def duration(config: Namespace, seconds: float | None, env: Mapping[str, str] = os.environ) -> str:
    """How long a run will take, in words: from `seconds` for 1000 images, else by an estimate."""
    total = config.train.total_nimg
    if seconds is not None:
        hours = total * seconds / 3.6e6
        return f"{total:,} images take about {in_words(hours)} on two CPU cores"
    name = torch.cuda.get_device_name().lower() if torch.cuda.is_available() else ""
    gpu = next((key for key in GPUS if key in name), "h100")
    counted, setting, _ = planned(config, gpu, env)
    hours = total / iteration(counted, setting).images_per_s / 3600
    machine = f"{setting.world} {setting.gpu.name}"
    return (
        f"{total:,} images take about {in_words(hours)} on {machine}, by an estimate (--dry-run "
        "shows it)"
    )


def in_words(hours: float) -> str:
    """Minutes, hours or days."""
    if hours < 1:
        minutes = max(1, round(60 * hours))
        return f"{minutes} minutes" if minutes > 1 else "a minute"
    return f"{hours:.0f} hours" if hours < 48 else f"{hours / 24:.0f} days"


def planned(config: Namespace, gpu: str, env: Mapping[str, str]) -> tuple[Count, Setting, str]:
    """The counted recipe, how it would be run, and what its data look like."""
    world = config.parallel.processes or int(env.get("WORLD_SIZE", "1"))
    spec, known = data_spec(config)
    make = partial(new_recipe, config, spec)
    size = micro_batch_size(config.train.batch_size, config.train.micro_batch_size, world)
    with torch.device("meta"):
        recipe = make()
    parallel, precision = config.parallel, config.train.precision
    told = {"deepspeed": parallel.deepspeed, "precision": precision, "env": env}
    choose(parallel.engine, recipe, World(0, world, torch.device("cpu")), **told)
    engines, _ = chosen_engines(parallel.engine, recipe, **told)
    setting = Setting(config.train.batch_size, world, GPUS[gpu], precision, engines)
    return count(make, spec, micro_batch_size=size, world=world), setting, known


def data_spec(config: Namespace) -> tuple[DataSpec, str]:
    """What examples look like, and how that is known: from the data, or as the file says."""
    data, recipe = config.data, recipe_of(config)
    try:
        source = open_source(data, recipe, pack=False)
    except DataError:
        return declared_spec(config)
    spec = spec_of(data, source)
    return spec, f"{described(spec)} (as {data.path} has them)"


def declared_spec(config: Namespace) -> tuple[DataSpec, str]:
    data = config.data
    side = data.resolution or data.crop
    pairs = 3 if "image_b" in recipe_of(config).reads else 0
    classes = (data.num_classes or 0) if data.labels else 0
    spec = DataSpec(3, *[side or UNKNOWN_RESOLUTION] * 2, classes, pairs)
    why = "as the configuration says" if side else "ASSUMED: set data.resolution, data.num_classes"
    state = "not packed yet" if os.path.exists(data.path) else "not here"
    return spec, f"{described(spec)} ({why}; {data.path} is {state})"


def described(spec: DataSpec) -> str:
    classes = f" of {spec.num_classes} classes" if spec.num_classes else ""
    return f"{spec.channels}x{spec.height}x{spec.width}{classes}"


def counted_lines(counted: Count, run: Setting) -> Iterator[str]:
    sizes = [f"{name} {n / 1e6:.2f} M" for name, n in counted.parameters.items()]
    averages = f", averages {counted.averages / 1e6:.2f} M" if counted.averages else ""
    yield f"parameters    {', '.join(sizes)}{averages}"
    yield f"one micro-batch of {counted.micro_batch_size} images on each GPU"
    yield "  phase                     every  TFLOP  kept GiB     ms"
    for phase in counted.phases:
        turns = f"{phase.phase.repeat}/{phase.phase.every}"
        ms = 1e3 * sum(phase_s(phase, run))
        yield (
            f"  {phase.phase.name:25s} {turns:>5s} {phase.flops / 1e12:6.2f} "
            f"{phase.kept_bytes / 2**30:9.2f} {ms:6.1f}"
        )


def memory_lines(counted: Count, run: Setting) -> Iterator[str]:
    parts = memory_gib(counted, run)
    total = sum(parts.values())
    yield (
        f"memory        {total:.1f} GiB on each {run.gpu.name} of {run.gpu.memory_gib:g}: "
        + ", ".join(f"{name} {gib:.2f}" for name, gib in parts.items() if gib >= 0.005)
    )
    if total > run.gpu.memory_gib:
        yield (
            "              does not fit: lower train.micro_batch_size, or share players out with "
            "parallel.engine fsdp2"
        )


def time_lines(once: Iteration, total_nimg: int, run: Setting) -> Iterator[str]:
    engines = ", ".join(f"{player} {engine}" for player, engine in run.engines.items())
    hours = total_nimg / once.images_per_s / 3600
    yield f"setting       {run.world} {run.gpu.name}, {run.precision}, engines: {engines}"
    yield (
        f"iteration     {once.seconds:.3g} s for {once.images} images: compute "
        f"{once.compute_s:.3g}, links {once.links_s:.3g} (for {once.link_bytes / 2**20:.1f} MiB), "
        f"waiting {once.waiting_s:.3g}; bound by {once.binding}"
    )
    yield f"speed         {once.images_per_s:.4g} images/s"
    yield f"whole run     {total_nimg} images: {hours:.3g} h, {hours * run.world:.3g} GPU-hours"
