"""What a run shows of itself: pictures of samples, and numbers that its recipe measures."""

from jsonargparse import Namespace
from torch import Tensor

from largegan.data.transforms import to_device
from largegan.parallel import watch
from largegan.run.data import some_images
from largegan.run.log import Logger
from largegan.run.prepared import Start
from largegan.run.trackers import Trackers
from largegan.sampler import seeded
from largegan.viz import training_grid
from largegan.viz.pictures import write_picture


class Pictures:
    """Draws with fixed latents and averaged weights, so that one can watch samples change.

    Args:
        settings: the `train` group of the configuration.
        start: the run.
        logger, trackers: where measured numbers go.
    """

    def __init__(self, settings: Namespace, start: Start, logger: Logger, trackers: Trackers):
        self.settings, self.start, self.trainer = settings, start, start.trainer
        self.logger, self.trackers = logger, trackers
        self.device = self.trainer.engine.device

    def show(self, *, reals: bool = False, measure: bool = True) -> None:
        """Writes the picture people watch, on rank 0; others lend their parts of the weights.

        `reals` writes one of real images besides. `measure` also logs what the recipe measures of
        itself, which is due by images alone.
        """
        engine = self.trainer.engine
        with engine.whole():
            if engine.rank == 0:
                self.draw_samples(reals)
                if measure:
                    self.log_measures()

    def draw_samples(self, reals: bool) -> None:
        """samples/fakes-NIMG.png, and with `reals` samples/reals.png."""
        watch.at("drawing samples")
        recipe, nimg = self.trainer.recipe, self.trainer.at.nimg
        rows, seed = self.settings.sample_rows, self.settings.seed
        images = self.real_images() if recipe.directions or reals else None
        picture = training_grid.training_picture(
            recipe, self.start.spec, rows, seed, self.device, images=images
        )
        if picture is not None:
            self.write(f"fakes-{nimg:09d}.png", picture)
            self.trackers.picture("samples", picture, nimg)
        if reals and images:
            self.write("reals.png", training_grid.real_picture(images, rows))

    def log_measures(self) -> None:
        """What the recipe measures of itself, with noise of its own."""
        recipe, nimg = self.trainer.recipe, self.trainer.at.nimg
        measured = recipe.measure(seeded(self.settings.seed, self.device))
        if measured:
            self.logger.append("metrics.jsonl", {"nimg": nimg, **measured})
            self.trackers.log(measured, nimg)
            shown = [
                f"{name} {value:.3f}"
                + (f" (target {recipe.targets[name]:g})" if name in recipe.targets else "")
                for name, value in measured.items()
                if "/" not in name
            ]
            if shown:
                self.logger.say("  ".join(shown))

    def real_images(self) -> dict[str, Tensor] | None:
        """The same training images every time, as networks get them; None for other data."""
        images = some_images(self.start.source, self.settings.sample_rows**2)
        return images and to_device(images, self.device, self.start.framing)

    def write(self, name: str, picture: Tensor) -> None:
        """RUN/samples/`name`. Raises EnvironmentFault."""
        remedy = "make room and continue with --run.resume auto"
        write_picture(self.start.folder / "samples" / name, picture, remedy=remedy)
