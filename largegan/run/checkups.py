"""A run's health while it trains: signals when a log line is due, looks at samples, verdicts.

Nothing here is seen by training: what is random has generators of its own, and what a pass through
the networks changes is put back. So a run with signals trains to the same bytes as one without.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import Namespace
from torch import Tensor

from largegan.config.parse import as_dict
from largegan.data.domains import Domains
from largegan.data.stream import Source
from largegan.data.transforms import to_device
from largegan.files.lines import read_lines
from largegan.health import looks
from largegan.health.diagnosis import Diagnosis
from largegan.health.observer import Observer
from largegan.health.records import Notice, merged
from largegan.health.scores import NAMES, statistics
from largegan.health.signals import PREFIX
from largegan.parallel import watch
from largegan.parallel.launch import World, agree
from largegan.recipe import Batch, MakesSources, Phase, Recipe
from largegan.run.directory import flatten
from largegan.run.prepared import Start
from largegan.sampler import seeded
from largegan.trainer import Trainer

BANK = 1024  # training examples that samples are compared with
SPARSE = 50  # times as many images are trained on as looked at: see benchmarks/health.py
RARE = 80  # iterations at least between passes over held-out images
LEVELS = ("logit_real", "logit_fake")


class Checkups:
    """Signals and verdicts of one run. All ranks call everything alike, and get the same.

    Args:
        config: of the run.
        start: what was built for it.
        world: all processes.
    """

    def __init__(self, config: Namespace, start: Start, world: World):
        self.config, self.start, self.world = config, start, world
        self.trainer, self.settings = start.trainer, config.health
        self.diagnosis = Diagnosis(known_settings(config, start.trainer))
        self.reals: looks.Reals | None = None
        if self.settings.signals:
            trainer = self.trainer
            trainer.observer = Observer(trainer.recipe, trainer.engine.mean)
            trainer.observer.load_state_dict(start.health)

    def resume(self, folder: Path) -> None:
        """Reads the log of the past again: verdicts are where they were."""
        if self.settings.signals:
            lines = folder / "metrics.jsonl"
            agree(self.world, lambda: self.diagnosis.replay(merged(read_lines(lines))))

    def state_dict(self) -> dict[str, Any]:
        """What the next line needs of the time before a checkpoint."""
        observer = self.trainer.observer
        return observer.state_dict() if observer else {}

    def signals(self) -> dict[str, float]:
        """For a line of metrics.jsonl; begins the next one."""
        observer = self.trainer.observer
        if observer is None:
            return {}
        found = observer.line()
        if self.start.held_out is not None and f"{PREFIX}auc" in found and self.unseen_due():
            found |= self.unseen()
        return found

    def unseen(self) -> dict[str, float]:
        """What the discriminators say, now, of held-out images and of as many training images.

        Both in the same state of the networks: with batch norm in it, a discriminator may call all
        images real in one step and none in the next.
        """
        begun = time.perf_counter()
        seen = probe(self.trainer, self.batches_of(self.start.source))
        unseen = probe(self.trainer, self.batches_of(self.start.held_out))
        self.trainer.tally.spend("held_out", time.perf_counter() - begun)
        if seen is None or unseen is None:
            return {}
        real, fake = (seen[name] for name in LEVELS)
        drop = (real - unseen["logit_real"]) / (real - fake) if real != fake else 0.0
        return {
            f"{PREFIX}accuracy_seen": seen["accuracy_real"],
            f"{PREFIX}accuracy_held_out": unseen["accuracy_real"],
            f"{PREFIX}overfit": drop,
        }

    def unseen_due(self) -> bool:
        """Whether held-out images are asked about on this line: of large batches, not on each."""
        trainer, line = self.trainer, self.config.train.log_every_nimg
        return trainer.crossed(RARE * trainer.batch_size, in_the_last=line)

    def batches_of(self, source: "Source | Domains") -> list[Batch]:
        """This rank's micro-batches of a batch of a set's examples: others at every step."""
        trainer = self.trainer
        engine, total = trainer.engine, trainer.batch_size
        size = total // trainer.micro_batches
        first = trainer.at.step * total
        starts = range(first, first + total, size)[engine.rank :: engine.world]
        numbers = [np.arange(s, s + size) % source.info.count for s in starts]
        return [to_device(source.read(n), engine.device, self.start.framing) for n in numbers]

    def look_due(self, done: bool) -> bool:
        """Whether samples are looked at after this iteration: a function of progress."""
        if not (self.settings.signals and can_look(self.start)):
            return False
        least = SPARSE * self.settings.look_count
        every = self.settings.look_every_nimg or max(least, self.config.train.log_every_nimg)
        return done or self.trainer.crossed(every)

    def look(self) -> dict[str, float]:
        """Signals of averaged samples, drawn on rank 0; others lend their parts of the weights."""
        watch.at("looking at samples")
        begun = time.perf_counter()
        with self.trainer.engine.whole(), undisturbed(self.trainer.engine.device):
            found = agree(self.world, self.seen)
        self.trainer.tally.spend("look", time.perf_counter() - begun)
        return found

    @torch.no_grad()
    def seen(self) -> dict[str, float]:
        """Of the samples of the same latents every time."""
        recipe, count = self.trainer.recipe, self.settings.look_count
        device, seed = self.trainer.engine.device, self.config.train.seed
        size = self.trainer.batch_size // self.trainer.micro_batches
        if self.reals is None:
            self.reals = read_reals(self.start, count, device)
        if recipe.directions:
            sources = read_examples(self.start.source, count)
            sources = to_device(sources, device, self.start.framing)
            drawn, asked = translated(recipe, sources, size), None
        else:
            labels = torch.arange(count, device=device) % max(recipe.num_classes, 1)
            asked = labels if recipe.num_classes else None
            drawn = sampled(recipe, count, asked, seeded(seed, device), size)
        found = looks.look(
            looks.features(drawn),
            self.reals,
            asked=None if asked is None else asked.cpu(),
            copies=not recipe.directions,
        )
        # Of weights that are no numbers any more nothing can be said.
        return {PREFIX + name: value for name, value in found.items() if isfinite(value)}

    def still_there(self) -> list[Notice]:
        """Verdicts that have begun and not ended; the same on every rank."""
        return agree(self.world, lambda: list(self.diagnosis.open.values()))

    def judge(self, line: dict[str, Any]) -> list[Notice]:
        """What begins and ends with a line of numbers; the same on every rank."""
        if not self.settings.signals:
            return []
        return agree(self.world, lambda: self.diagnosis.add(line))


def known_settings(config: Namespace, trainer: Trainer) -> dict[str, Any]:
    """All settings by dotted names; what the learning rate has become, where null left it open."""
    settings = flatten(as_dict(config))
    if settings.get("recipe.lr", 0) is None:
        groups = [o.param_groups[0] for o in trainer.engine.optimizers.values()]
        settings["recipe.lr"] = max(group["lr"] for group in groups)
    return settings


def can_look(start: Start) -> bool:
    """Whether samples can be compared with training examples: pictures, or numbers, not latents."""
    return start.source.info.count is not None and not start.spec.latent_scale


def read_examples(source: "Source | Domains", count: int) -> Batch:
    """Evenly spread over the set."""
    total = source.info.count
    return source.read(np.linspace(0, total - 1, min(count, total)).astype(np.int64))


def read_reals(start: Start, count: int, device: torch.device) -> looks.Reals:
    """What samples should look like."""
    batch = to_device(read_examples(start.source, BANK), device, start.framing)
    points = looks.features(batch[wanted(start.trainer.recipe)])
    labeled = start.source.info.num_classes and "label" in batch
    return looks.reals_of(points, batch["label"].cpu() if labeled else None, count=count)


def wanted(recipe: Recipe) -> str:
    """The name in a batch of what the recipe makes."""
    if "image_b" not in recipe.reads:
        return recipe.reads[0]
    return "image_b" if recipe.directions[0] == "a_to_b" else "image_a"


def sampled(
    recipe: Recipe, count: int, labels: Tensor | None, generator: torch.Generator, size: int
) -> Tensor:
    """`count` samples by averaged weights, `size` at a time."""
    z = recipe.latent(count, generator).split(size)
    which = [None] * len(z) if labels is None else labels.split(size)
    return torch.cat([recipe.decode(*pair) for pair in zip(z, which, strict=True)])


def translated(recipe: Recipe, batch: Batch, size: int) -> Tensor:
    """Translations of training examples in the first direction."""
    if isinstance(recipe, MakesSources):
        sources = recipe.sources(batch)
    else:
        sources = batch["image_a" if recipe.directions[0] == "a_to_b" else "image_b"]
    return torch.cat([recipe.translate(part) for part in sources.split(size)])


def probe(trainer: Trainer, micros: list[Batch]) -> dict[str, float] | None:
    """What discriminators say in their own losses of micro-batches that nobody learns from.

    None when no discriminator speaks. Everything that the passes change is put back.
    """
    engine, recipe = trainer.engine, trainer.recipe
    judging = trainer.observer.judging if trainer.observer else set()
    # Others, too, where they may leave notes in the batch; those that penalize leave none.
    phases = [
        (i, p) for i, p in enumerate(recipe.phases) if not p.second_order or p.name in judging
    ]
    trainer.guard.remember()
    totals = []
    with engine.whole(), undisturbed(engine.device):
        for i, batch in enumerate(micros):
            for index, phase in phases:
                totals += listened(trainer, phase, index, i, batch)
    trainer.guard.restore()
    if not totals:
        return None
    means = engine.mean(torch.stack(totals).mean(0)).tolist()
    return dict(zip(NAMES, means, strict=True))


def listened(trainer: Trainer, phase: Phase, index: int, micro: int, batch: Batch) -> list[Tensor]:
    """Runs one loss, and leaves no note but those in the batch."""
    recipe, engine = trainer.recipe, trainer.engine
    recipe.set_accumulating(micro > 0)
    recipe.micro_batch = engine.rank + micro * engine.world
    trainer.reseed(index, -1, recipe.micro_batch)
    with torch.set_grad_enabled(phase.second_order), trainer.autocast(phase):
        phase.loss(batch, trainer.at)
    recipe.take_watched()
    return [statistics(scored) for scored in recipe.take_scored()]


@contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """Within it random numbers may be drawn: afterwards the generators are where they were."""
    before = torch.get_rng_state()
    on_device = torch.get_device_module(device) if device.type != "cpu" else None
    there = on_device.get_rng_state(device) if on_device else None
    try:
        yield
    finally:
        torch.set_rng_state(before)
        if on_device:
            on_device.set_rng_state(there, device)
