"""Scores of a run while it trains: how they are made, what they were, the best, the picture."""

import json
import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jsonargparse import Namespace
from torch import Tensor

from largegan.data.domains import Domains
from largegan.data.stream import Source
from largegan.data.transforms import Framing
from largegan.files.output import write_text
from largegan.metrics import table
from largegan.parallel.launch import World, agree
from largegan.recipe import DataSpec
from largegan.run.history import PREFIX, best, history
from largegan.run.prepared import Start
from largegan.run.stopping import Stall, stalled
from largegan.sampler import Sampler
from largegan.trainer import Trainer
from largegan.viz.pictures import of_figure, write_picture

if TYPE_CHECKING:
    from largegan.evaluation.during_training import Opener
    from largegan.metrics.features import Backbone

TRIED = 8  # images that a rehearsal draws and looks at, on each process


class RunScores:
    """Scores of one run, on all processes together; PREFIX stands before their names in logs.

    Weights and reference are here before the first iteration. Raises ConfigError, EnvironmentFault
    where they are not; training does not start then.
    """

    def __init__(self, config: Namespace, start: Start, world: World):
        from largegan.evaluation.during_training import TrainingScores  # imports timm: seconds

        self.folder, self.trainer, self.world = start.folder, start.trainer, world
        self.settings, self.stop = config.evaluate, config.train.stop
        sampler = sampler_of_training(start.trainer, start.spec, start.source, world)
        labels = "labels" in table.needs(config.evaluate.metrics)
        real = opener_of_reference(config, start.source, start.framing, labels=labels)
        self.measure = TrainingScores(config.evaluate, world, sampler, images=real)
        if world.rank == 0:
            write_text(self.folder / "scores.json", json.dumps(self.measure.protocol(), indent=1))

    def due(self, done: bool) -> bool:
        return done or self.trainer.crossed(self.settings.every_nimg)

    def __call__(self) -> dict[str, float]:
        """The scores of this moment, by name."""
        with self.trainer.engine.whole():
            return self.measure()

    def sentence(self, found: dict[str, float]) -> str:
        """One line for people."""
        return self.measure.sentence(found)

    def draw(self) -> None:
        """Writes scores.png: what the log holds so far."""
        picture = curves(history(self.folder), self.measure.extractor.backbone)
        write_picture(self.folder / "scores.png", picture)

    def best_nimg(self) -> int | None:
        """Of the checkpoint with the best score so far."""
        line = best(self.folder, self.settings.best)
        return None if line is None else line["nimg"]

    def stalled(self) -> Stall | None:
        """Says on all ranks that the score has not improved for as long as `train.stop` allows."""
        if self.stop.metric is None:
            return None
        return agree(self.world, lambda: stalled(history(self.folder), self.stop))


def sampler_of_training(
    trainer: Trainer, spec: DataSpec, source: "Source | Domains", world: World
) -> Sampler:
    """Draws with the averaged weights of a recipe in training, classes as often as the data."""
    recipe, info = trainer.recipe, source.info
    classes, names = tuple(range(recipe.num_classes)), tuple(info.class_names or ())
    counts = tuple(info.label_counts) if recipe.num_classes else ()
    return Sampler(recipe, spec, names, world.device, classes, label_counts=counts)


def opener_of_reference(
    config: Namespace, source: "Source | Domains", framing: Framing, *, labels: bool
) -> "Opener":
    """What opens the images to compare with: those of evaluate.reference, else the training data.

    These as training sees them. `labels` says that a metric needs classes.
    """
    from largegan.evaluation.image_sets import images_of_source, open_image_set

    path, count = config.evaluate.reference, config.evaluate.reference_count
    if path is not None:
        return partial(open_image_set, path, count=count, labels=labels)
    return partial(images_of_source, source, framing, count=count, path=config.data.path)


class Rehearsal(NamedTuple):
    """What came of looking at a few images, as the scores of a run will."""

    network: str
    seconds: float
    reference: str


def rehearse(
    config: Namespace,
    trainer: Trainer,
    spec: DataSpec,
    source: "Source | Domains",
    framing: Framing,
    world: World,
) -> Rehearsal:
    """Draws and looks at a few images, and opens the reference; raises as `RunScores` does."""
    from largegan.evaluation import during_training as training
    from largegan.evaluation import scores
    from largegan.evaluation.image_kinds import Drawn

    sampler = sampler_of_training(trainer, spec, source, world)
    training.refuse_numbers(sampler)
    extractor = training.open_training_extractor(config.evaluate, world)
    real = opener_of_reference(config, source, framing, labels=False)
    reference = training.open_reference(config.evaluate, world, real)
    start = time.perf_counter()
    with trainer.engine.whole():
        drawn = Drawn(sampler, range(TRIED * world.size), {"kind": "checkpoint"})
        scores.extract(drawn, extractor, world, batch=TRIED, features=True)
    return Rehearsal(extractor.backbone.name, time.perf_counter() - start, reference)


def curves(lines: list[dict[str, float]], backbone: "Backbone") -> Tensor:
    """A picture uint8 `[3, H, W]`: each score over images seen, with its standard error."""
    from matplotlib.figure import Figure

    names = [
        key
        for key in dict.fromkeys(k for line in lines for k in line if k.startswith(PREFIX))
        if table.is_score(key.removeprefix(PREFIX))
    ]
    figure = Figure(figsize=(4.2 * len(names), 3.2), dpi=110, layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        points = [line for line in lines if name in line]
        x = [line["nimg"] / 1000 for line in points]
        score = name.removeprefix(PREFIX)
        errors = [line.get(f"{PREFIX}{table.error_of(score)}", 0.0) for line in points]
        axes.errorbar(x, [line[name] for line in points], errors, marker="o", capsize=3)
        axes.set_title(backbone.title(table.title(score)))
        axes.set_xlabel("thousand images")
        axes.grid(alpha=0.3)
    return of_figure(figure)
