"""Scores while training: on all processes, from the averaged weights, without touching the run.

Everything random here comes from generators of its own, so a run with evaluations trains to the
same bytes as one without.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from largegan.errors import ConfigError
from largegan.evaluation import scores
from largegan.evaluation.image_kinds import Drawn, about_labels
from largegan.evaluation.progress import progress_bar
from largegan.evaluation.scores import ImageSet
from largegan.metrics import table
from largegan.metrics.features import INCEPTION, Extractor, open_extractor
from largegan.metrics.side import Settings, Side
from largegan.metrics.statistics import is_statistics
from largegan.parallel.launch import World, agree, together
from largegan.sampler import Sampler, has_images

Opener = Callable[[], ImageSet]


class TrainingScores:
    """Scores what `sampler` draws now against a fixed reference.

    Args:
        settings: the `evaluate` group of the configuration.
        world: all processes, which build and call this together.
        sampler: draws with the averaged weights of the recipe in training.
        images: opens the images to compare with, where evaluate.reference is no statistics.

    Raises:
        ConfigError, EnvironmentFault: the metrics, weights or reference cannot be had. Now, and
            not after a day of training.
    """

    def __init__(self, settings: Any, world: World, sampler: Sampler, *, images: Opener):
        self.settings, self.world, self.sampler = settings, world, sampler
        self.metrics = list(settings.metrics)
        refuse_numbers(sampler)
        self.extractor = open_training_extractor(settings, world)
        self.reference = self._reference(images)

    def _reference(self, opener: Opener) -> Side:
        """Statistics of a file, or of images; those are kept by content for the next start."""
        needs, path = table.needs(self.metrics), self.settings.reference
        if path is not None and is_statistics(Path(path)):
            return together(self.world, lambda: scores.side_of_file(Path(path), self.extractor))
        images = together(self.world, opener)
        return scores.reference_side(
            images,
            self.extractor,
            self.world,
            cache=scores.default_cache(),
            features="features" in needs,
            batch=self.settings.batch,
            bar=progress_bar("reference", self.world),
        )

    def __call__(self) -> dict[str, float]:
        """The scores of this moment, the same on all processes; images are those of seeds 0, ..."""
        count = self.settings.count
        about = {"kind": "checkpoint", "path": "the recipe in training", "weights": "EMA"}
        drawn = Drawn(self.sampler, range(count), about | about_labels(self.sampler))
        side = scores.extract(
            drawn,
            self.extractor,
            self.world,
            batch=self.settings.batch,
            chunks=scores.CHUNKS if self.settings.error_bars else 1,
            features="features" in table.needs(self.metrics),
            logits=table.needs_classifier(self.metrics),
            bar=progress_bar("evaluating", self.world),
        )
        return agree(
            self.world, lambda: table.compute(self.reference, side, self.metrics, Settings())
        )

    def title(self, metric: str) -> str:
        """FID, or FD-NAME for other networks."""
        return self.extractor.backbone.title(table.title(metric))

    def sentence(self, found: dict[str, float]) -> str:
        """One line for people: each score with its error bar."""
        words = []
        for name, value in found.items():
            if not table.is_score(name):
                continue
            error = found.get(table.error_of(name) or "")
            words.append(f"{self.title(name)} {value:.4g}" + (f" ± {error:.2g}" if error else ""))
        return "  ".join(words)

    def protocol(self) -> dict[str, Any]:
        """How all scores of this run are made; written beside them once."""
        return {
            "backbone": self.extractor.backbone.as_dict(),
            "reference": self.reference.about,
            "generated": {"count": self.settings.count, "weights": "EMA", "seed": 0}
            | about_labels(self.sampler),
            "metrics": {"names": self.metrics},
            **scores.environment(self.world),
        }


def refuse_numbers(sampler: Sampler) -> None:
    """Raises `ConfigError` for a recipe that draws no images."""
    if not has_images(sampler.recipe):
        raise ConfigError("evaluate.every_nimg is set, but this recipe draws no images")


def open_training_extractor(settings: Any, world: World) -> Extractor:
    """The network that looks at images, as the `evaluate` group has it."""
    folder = None if settings.weights_dir is None else Path(settings.weights_dir)
    classifies = table.needs_classifier(settings.metrics) and settings.backbone == INCEPTION
    return together(
        world,
        lambda: open_extractor(
            settings.backbone, folder=folder, device=world.device, logits=classifies
        ),
    )


def open_reference(settings: Any, world: World, opener: Opener) -> str:
    """Opens what scores will be compared with, and looks at none of it; says what it is."""
    if settings.reference is not None and is_statistics(Path(settings.reference)):
        return f"the statistics in {settings.reference}"
    images = together(world, opener)
    return f"{images.count} images of {images.about['path']}"
