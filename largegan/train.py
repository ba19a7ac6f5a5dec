"""The entry point: reads the configuration, builds everything once, and trains.

python -m largegan.train --config FILE, accelerate launch -m largegan.train --config FILE, torchrun
and srun all do the same. From here it is two hops to a paper: `trainer.py`, then the recipe.
"""

import json
import os
import sys
import time
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from largegan.config import as_dict, parse
from largegan.errors import Requeue, UserError

if TYPE_CHECKING:
    from torch import Tensor

    from largegan.lock import RunLock
    from largegan.parallel.launch import World
    from largegan.parallel.signals import StopRequest


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code. An error is one sentence, not a traceback."""
    # Read once, when torch loads. A thread that waits by spinning takes the core that the thread
    # it waits for needs: on a busy machine two threads were 10 times slower than one. A short
    # spin keeps what spinning is good for on an idle one.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        config = parse(sys.argv[1:] if argv is None else argv)
        if config.dry_run:
            announce(config)
        else:
            train(config)
    except UserError as fault:
        print(f"error: {fault}", file=sys.stderr, flush=True)
        return fault.exit_code
    except KeyboardInterrupt:
        print("interrupted; continue with --run.resume auto", file=sys.stderr, flush=True)
        return 130
    return 0


def announce(config: Namespace) -> None:
    """What the run would cost; one rank says it."""
    from largegan.cost.dry_run import dry_run

    if os.environ.get("RANK", "0") == "0":
        print(dry_run(config), flush=True)


def train(config: Namespace) -> None:
    """Joins the process group and trains from the configuration's start to its end."""
    from largegan.lock import RunLock
    from largegan.parallel.launch import connect, disconnect
    from largegan.parallel.signals import StopRequest

    stop, lock, parallel = StopRequest(), RunLock(), config.parallel
    try:
        world = connect(
            parallel.processes, cpu_threads=config.train.cpu_threads, timeout_s=parallel.timeout_s
        )
        Session(config, world, lock).run(stop)
    finally:
        stop.close()
        lock.release()
        disconnect()


class Session:
    """One start of one run, from its first iteration to its last: what people see and keep."""

    def __init__(self, config: Namespace, world: "World", lock: "RunLock"):
        from largegan.start import prepare

        self.config, self.world, self.lock = config, world, lock
        start = prepare(config, world, lock)
        self.folder, self.trainer, self.engine = start.folder, start.trainer, start.trainer.engine
        self.source, self.framing, self.spec = start.source, start.framing, start.spec

    def run(self, stop: "StopRequest") -> None:
        """Trains to the end or until asked to stop, logging, sampling and saving on the way."""
        from largegan import run
        from largegan.log import Logger, Trackers
        from largegan.parallel.launch import agree

        settings, trainer = self.config.train, self.trainer
        at, device = trainer.at, str(self.world.device)
        agree(
            self.world,
            lambda: run.prepare(
                self.folder, self.config, nimg=at.nimg, world=self.world.size, device=device
            ),
        )
        log = self.config.log
        self.trackers = Trackers(
            log.trackers,
            self.folder,
            project=log.project,
            settings=run.flatten(as_dict(self.config)),
        )
        self.logger = Logger(
            self.folder,
            self.engine,
            total_nimg=settings.total_nimg,
            nimg=at.nimg,
            trackers=self.trackers,
        )
        self.introduce()
        try:
            self.prepare_scores()
            self.loop(stop)
        finally:
            # Events of the last moments matter most when training stops on one of them.
            for event in trainer.events:
                if self.world.rank == 0:
                    self.logger.append("health.jsonl", event)
            self.logger.close()
            trainer.stream.close()

    def loop(self, stop: "StopRequest") -> None:
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
            scored = self.evaluate(done)
            asked = not done and stop.agreed(self.engine)
            if done or asked or scored or self.due(settings.save_every_nimg):
                self.save()
            if asked:
                raise Requeue(
                    f"asked to stop by a signal: saved at {at.nimg} images; continue with "
                    "--run.resume auto"
                )
        self.logger.say(f"done: {trainer.at.nimg} images, results in {self.folder}")

    def due(self, every_nimg: int) -> bool:
        """Whether this iteration crossed a multiple of `every_nimg`: a function of progress."""
        now = self.trainer.at.nimg
        return now // every_nimg > (now - self.trainer.batch_size) // every_nimg

    def save(self) -> None:
        """Writes a checkpoint on rank 0, then removes what is too old."""
        from largegan import checkpoint
        from largegan.parallel import watch
        from largegan.parallel.launch import agree

        watch.at("saving a checkpoint")
        settings, folder = self.config.train, self.folder / "checkpoints"
        state = {
            **self.trainer.state_dict(),
            "config": as_dict(self.config),
            "spec": vars(self.spec),
            "class_names": list(self.source.info.class_names or []),
            "micro_batch_size": self.trainer.batch_size // self.trainer.micro_batches,
            "processes": self.world.size,
        }
        content = checkpoint.Checkpoint(
            self.engine.model_state(), self.engine.optimizer_state(), state
        )

        def write() -> None:
            self.lock.check()
            checkpoint.save(folder, self.trainer.at.nimg, content)
            checkpoint.prune(
                folder,
                keep_last=settings.keep_last,
                keep_every_nimg=settings.keep_every_nimg,
                keep_nimg=self.best_nimg(),
            )

        agree(self.world, write)

    def prepare_scores(self) -> None:
        """Weights and reference are here before the first iteration, or training does not start."""
        self.scores = None
        if self.config.evaluate.every_nimg is None:
            return
        from largegan.checkpoint import write_text
        from largegan.sheets import Artist
        from largegan.training_scores import TrainingScores

        recipe = self.trainer.recipe
        classes = tuple(range(getattr(recipe, "num_classes", 0)))
        names = tuple(self.source.info.class_names or ())
        artist = Artist(recipe, self.spec, names, self.world.device, classes)
        settings = self.config.evaluate
        self.scores = TrainingScores(settings, self.world, artist, data=self.config.data.path)
        if self.world.rank == 0:
            protocol = json.dumps(self.scores.protocol(), indent=1)
            write_text(self.folder / "scores.json", protocol)

    def evaluate(self, done: bool) -> bool:
        """Whether scores were due; then they are in metrics.jsonl, the trackers and scores.png."""
        if self.scores is None:
            return False
        if not (done or self.due(self.config.evaluate.every_nimg)):
            return False
        from largegan import training_scores
        from largegan.pictures import write_picture

        start, nimg = time.perf_counter(), self.trainer.at.nimg
        found = self.scores()
        self.logger.pause(time.perf_counter() - start)
        values = {f"{training_scores.PREFIX}{name}": value for name, value in found.items()}
        if self.world.rank == 0:
            self.logger.append("metrics.jsonl", {"nimg": nimg, **values})
            self.trackers.log(values, nimg)
            self.logger.say(self.scores.sentence(found))
            picture = training_scores.curves(
                training_scores.history(self.folder), self.scores.extractor.backbone
            )
            write_picture(self.folder / "scores.png", picture)
        return True

    def best_nimg(self) -> int | None:
        """Of the checkpoint with the best score so far."""
        if self.scores is None:
            return None
        from largegan import training_scores

        line = training_scores.best(self.folder, self.config.evaluate.best)
        return None if line is None else line["nimg"]

    def show(self, *, reals: bool = False) -> None:
        """Writes the picture people watch, on rank 0; others lend their parts of the weights."""
        with self.engine.whole():
            if self.world.rank == 0:
                self.draw(reals)

    def draw(self, reals: bool) -> None:
        """Fixed latents, averaged weights."""
        from largegan import samples
        from largegan.parallel import watch

        watch.at("drawing samples")
        recipe, at = self.trainer.recipe, self.trainer.at
        rows = self.config.train.sample_rows
        seed = self.config.train.seed
        images = self.real_images() if recipe.directions or reals else None
        picture = samples.training_picture(
            recipe, self.spec, rows, seed, self.world.device, images=images
        )
        if picture is not None:
            self.write(f"fakes-{at.nimg:09d}.png", picture)
            self.trackers.picture("samples", picture, at.nimg)
        measured = recipe.measure(samples.generator(seed, self.world.device))
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
            self.write("reals.png", samples.real_picture(images, rows))

    def real_images(self) -> "dict[str, Tensor] | None":
        """The same training images every time, as networks get them; None for other data."""
        from largegan import samples
        from largegan.data.transforms import to_device

        images = samples.real_images(self.source, self.config.train.sample_rows**2)
        return images and to_device(images, self.world.device, self.framing)

    def write(self, name: str, picture: "Tensor") -> None:
        from largegan.pictures import write_picture

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


if __name__ == "__main__":
    from largegan.parallel.launch import leave

    leave(main())
