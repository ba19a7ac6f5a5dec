"""One start of one run, from its first iteration to its last: what people see and keep."""

import json
import time

from jsonargparse import Namespace
from torch import Tensor

from largegan import checkpoint
from largegan.config.parse import as_dict
from largegan.data.transforms import to_device
from largegan.errors import Requeue
from largegan.files.output import write_text
from largegan.parallel import watch
from largegan.parallel.launch import World, agree, together
from largegan.parallel.signals import StopRequest
from largegan.run import directory, snapshots
from largegan.run.lock import RunLock
from largegan.run.log import Logger, tally_state
from largegan.run.saver import Saver
from largegan.run.start import build_run
from largegan.run.trackers import Trackers
from largegan.sampler import Sampler, seeded
from largegan.viz import training_grid
from largegan.viz.pictures import write_picture


class Session:
    """Trains a run, and logs, draws, scores and saves on the way."""

    def __init__(self, config: Namespace, world: World, lock: RunLock):
        self.config, self.world, self.lock = config, world, lock
        start = build_run(config, world, lock)
        self.folder, self.trainer, self.engine = start.folder, start.trainer, start.trainer.engine
        self.source, self.framing, self.spec = start.source, start.framing, start.spec
        self.saver = Saver(
            self.folder / "checkpoints",
            lock,
            keep_last=config.train.keep_last,
            keep_every_nimg=config.train.keep_every_nimg,
        )

    def run(self, stop: StopRequest) -> None:
        """Trains to the end or until asked to stop, logging, sampling and saving on the way."""
        begun = self.trainer.at.nimg
        with directory.withdrawn_if_nothing_came(
            self.folder, lambda: self.trainer.at.nimg > begun or self.world.rank != 0
        ):
            self.begin()
            self.train(stop)

    def begin(self) -> None:
        """What people find of this start: its directory, its trackers, its logs."""
        settings, trainer = self.config.train, self.trainer
        at, device = trainer.at, str(self.world.device)
        agree(
            self.world,
            lambda: directory.describe_run(
                self.folder, self.config, nimg=at.nimg, world=self.world.size, device=device
            ),
        )
        log = self.config.log
        settings_of_run = directory.flatten(as_dict(self.config))
        # Together: what is missing on one node is refused by all of them, before training.
        self.trackers = together(
            self.world,
            lambda: Trackers(
                log.trackers, self.folder, project=log.project, settings=settings_of_run
            ),
        )
        self.logger = Logger(
            self.folder,
            self.engine,
            total_nimg=settings.total_nimg,
            nimg=at.nimg,
            trackers=self.trackers,
        )
        # Of a future that this run, which may begin at an older checkpoint, will not have.
        agree(self.world, lambda: snapshots.forget_after(self.folder, at.nimg))
        self.introduce()

    def train(self, stop: StopRequest) -> None:
        trainer = self.trainer
        try:
            self.prepare_scores()
            self.loop(stop)
        finally:
            self.saver.close()
            # Events of the last moments matter most when training stops on one of them.
            for event in trainer.events:
                if self.world.rank == 0:
                    self.logger.append("health.jsonl", event)
            self.logger.close()
            trainer.stream.close()

    def loop(self, stop: StopRequest) -> None:
        settings, trainer = self.config.train, self.trainer
        if trainer.at.nimg == 0:
            self.show(reals=True)
        for at in trainer.run(settings.total_nimg):
            self.logger.progress(at.nimg)
            done = at.nimg >= settings.total_nimg
            if done or self.due(settings.log_every_nimg):
                self.logger.tick(trainer)
            if done or self.due(settings.sample_every_nimg):
                self.show()
            if self.snapshot_due(done):
                self.snapshot()
            scored = self.evaluate(done)
            asked = not done and stop.agreed(self.engine)
            if done or asked or scored or self.due(settings.save_every_nimg):
                self.save()
            if asked:
                agree(self.world, self.saver.wait)
                raise Requeue(
                    f"asked to stop by a signal: saved at {at.nimg} images; continue with "
                    "--run.resume auto"
                )
        agree(self.world, self.saver.wait)
        self.logger.say(f"done: {trainer.at.nimg} images, results in {self.folder}")

    def due(self, every_nimg: int) -> bool:
        """Whether this iteration crossed a multiple of `every_nimg`: a function of progress."""
        now = self.trainer.at.nimg
        return now // every_nimg > (now - self.trainer.batch_size) // every_nimg

    def snapshot_due(self, done: bool) -> bool:
        """At multiples of the interval, and at the end: there the last checkpoint is."""
        every = self.config.train.snapshot_every_nimg
        return every is not None and (done or self.due(every))

    def snapshot(self) -> None:
        """Writes the power averages on rank 0."""

        def write() -> None:
            self.lock.check()
            snapshots.write(self.folder, self.trainer.at.nimg, self.trainer.recipe)

        with self.engine.whole():
            agree(self.world, write)

    def save(self) -> None:
        """Takes a copy of everything, which rank 0 writes while training goes on."""
        watch.at("saving a checkpoint")
        state = {
            **self.trainer.state_dict(),
            "config": as_dict(self.config),
            "spec": vars(self.spec),
            "class_names": list(self.source.info.class_names or []),
            "tally": tally_state(self.trainer),
            "micro_batch_size": self.trainer.batch_size // self.trainer.micro_batches,
            "processes": self.world.size,
        }
        agree(self.world, self.saver.wait)  # for the one before
        model, optimizer = self.engine.model_state(), self.engine.optimizer_state()
        if self.world.rank == 0:
            content = checkpoint.Checkpoint(
                checkpoint.on_host(model), checkpoint.on_host(optimizer), state
            )
            self.saver.begin(self.trainer.at.nimg, content, keep_nimg=self.best_nimg())

    def prepare_scores(self) -> None:
        """Weights and reference are here before the first iteration, or training does not start."""
        self.scores = None
        if self.config.evaluate.every_nimg is None:
            return
        from largegan.evaluation import during_training  # imports timm: seconds

        recipe = self.trainer.recipe
        classes = tuple(range(recipe.num_classes))
        names = tuple(self.source.info.class_names or ())
        sampler = Sampler(recipe, self.spec, names, self.world.device, classes)
        self.scores = during_training.TrainingScores(
            self.config.evaluate, self.world, sampler, data=self.config.data.path
        )
        if self.world.rank == 0:
            protocol = json.dumps(self.scores.protocol(), indent=1)
            write_text(self.folder / "scores.json", protocol)

    def evaluate(self, done: bool) -> bool:
        """Whether scores were due; then they are in metrics.jsonl, the trackers and scores.png."""
        if self.scores is None:
            return False
        if not (done or self.due(self.config.evaluate.every_nimg)):
            return False
        from largegan.evaluation import during_training

        start, nimg = time.perf_counter(), self.trainer.at.nimg
        with self.engine.whole():
            found = self.scores()
        self.logger.pause(time.perf_counter() - start)
        values = {f"{during_training.PREFIX}{name}": value for name, value in found.items()}
        if self.world.rank == 0:
            self.logger.append("metrics.jsonl", {"nimg": nimg, **values})
            self.trackers.log(values, nimg)
            self.logger.say(self.scores.sentence(found))
            picture = during_training.curves(
                during_training.history(self.folder), self.scores.extractor.backbone
            )
            write_picture(self.folder / "scores.png", picture)
        return True

    def best_nimg(self) -> int | None:
        """Of the checkpoint with the best score so far."""
        if self.scores is None:
            return None
        from largegan.evaluation import during_training

        line = during_training.best(self.folder, self.config.evaluate.best)
        return None if line is None else line["nimg"]

    def show(self, *, reals: bool = False) -> None:
        """Writes the picture people watch, on rank 0; others lend their parts of the weights."""
        with self.engine.whole():
            if self.world.rank == 0:
                self.draw_samples(reals)

    def draw_samples(self, reals: bool) -> None:
        """Fixed latents, averaged weights."""
        watch.at("drawing samples")
        recipe, at = self.trainer.recipe, self.trainer.at
        rows = self.config.train.sample_rows
        seed = self.config.train.seed
        images = self.real_images() if recipe.directions or reals else None
        picture = training_grid.training_picture(
            recipe, self.spec, rows, seed, self.world.device, images=images
        )
        if picture is not None:
            self.write(f"fakes-{at.nimg:09d}.png", picture)
            self.trackers.picture("samples", picture, at.nimg)
        measured = recipe.measure(seeded(seed, self.world.device))
        if measured:
            self.logger.append("metrics.jsonl", {"nimg": at.nimg, **measured})
            self.trackers.log(measured, at.nimg)
            shown = [
                f"{name} {value:.3f}"
                + (f" (target {recipe.targets[name]:g})" if name in recipe.targets else "")
                for name, value in measured.items()
                if "/" not in name
            ]
            if shown:
                self.logger.say("  ".join(shown))
        if reals and images:
            self.write("reals.png", training_grid.real_picture(images, rows))

    def real_images(self) -> dict[str, Tensor] | None:
        """The same training images every time, as networks get them; None for other data."""
        images = training_grid.real_images(self.source, self.config.train.sample_rows**2)
        return images and to_device(images, self.world.device, self.framing)

    def write(self, name: str, picture: Tensor) -> None:
        remedy = "make room and continue with --run.resume auto"
        write_picture(self.folder / "samples" / name, picture, remedy=remedy)

    def introduce(self) -> None:
        """What is about to happen, in two lines."""
        recipe, info, spec = self.trainer.recipe, self.source.info, self.spec
        sizes = ", ".join(
            f"{name} {sum(p.numel() for p in player.parameters()) / 1e6:.2f} M"
            for name, player in recipe.players.items()
        )
        classes = f", {info.num_classes} classes" if info.num_classes else ""
        count = "streamed" if info.count is None else info.count
        self.logger.say(
            f"{self.config.recipe.name}: {sizes} parameters; {count} examples of "
            f"{spec.channels}x{spec.height}x{spec.width}{classes}"
        )
        self.logger.say(
            f"{self.world.size} process(es) on {self.world.device.type}, {self.engine}, batch "
            f"{self.trainer.batch_size}; pictures appear in {self.folder / 'samples'}"
        )
