"""One start of one run, from its first iteration to its last: what people see and keep."""

import copy
import time

from jsonargparse import Namespace

from largegan import checkpoint
from largegan.config.parse import as_dict
from largegan.errors import Requeue
from largegan.health.diagnosis import sentence
from largegan.health.records import Notice
from largegan.parallel import watch
from largegan.parallel.launch import World, agree, together
from largegan.parallel.signals import StopRequest
from largegan.run import directory, snapshots
from largegan.run.checkups import Checkups
from largegan.run.clock import Clock, end_of_job
from largegan.run.data import share_counts
from largegan.run.history import PREFIX
from largegan.run.lock import RunLock
from largegan.run.log import Logger, tally_state
from largegan.run.pictures import Pictures
from largegan.run.reactions import react
from largegan.run.reporter import Reporter
from largegan.run.rollback import RolledBack
from largegan.run.saver import Saver
from largegan.run.scoring import RunScores
from largegan.run.start import build_run
from largegan.run.trackers import Trackers


class Session:
    """Trains a run, and logs, draws, scores and saves on the way."""

    def __init__(self, config: Namespace, world: World, lock: RunLock):
        self.state = "stopped"  # what a report says when this session ends early
        self.given = copy.deepcopy(config)  # before a rollback of the past changes it
        self.config, self.world, self.lock = config, world, lock
        self.start = start = build_run(config, world, lock)
        self.scores: RunScores | None = None
        self.folder, self.trainer, self.engine = start.folder, start.trainer, start.trainer.engine
        self.source, self.spec = start.source, start.spec
        self.checkups = Checkups(config, start, world)
        train = config.train
        self.clock = Clock(
            {
                "report": train.log_every_minutes,
                "picture": train.sample_every_minutes,
                "checkpoint": train.save_every_minutes,
            },
            train.max_seconds,
            job_ends=end_of_job(train.job_margin_seconds),
        )
        self.saver = Saver(
            self.folder / "checkpoints",
            lock,
            keep_last=config.train.keep_last,
            keep_every_nimg=config.train.keep_every_nimg,
        )

    def run(self, stop: StopRequest) -> Namespace | None:
        """Trains to the end or until asked to stop, logging, sampling and saving on the way.

        Returns the configuration of a session that has to follow, after a rollback.
        """
        begun = self.trainer.at.nimg
        with directory.withdrawn_if_nothing_came(
            self.folder, lambda: self.trainer.at.nimg > begun or self.world.rank != 0
        ):
            self.begin()
            return self.train(stop)

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
        self.pictures = Pictures(self.config.train, self.start, self.logger, self.trackers)
        self.reporter = Reporter(self.folder, self.logger.say) if self.world.rank == 0 else None
        # Of a future that this run, which may begin at an older checkpoint, will not have.
        agree(self.world, lambda: snapshots.forget_after(self.folder, at.nimg))
        self.checkups.resume(self.folder)
        self.introduce()

    def train(self, stop: StopRequest) -> Namespace | None:
        """See `run`."""
        settings, trainer = self.config.train, self.trainer
        try:
            if self.config.evaluate.every_nimg is not None:
                self.scores = RunScores(self.config, self.start, self.world)
            self.loop(stop)
        except RolledBack:
            return self.again()
        finally:
            self.saver.close()
            # Events of the last moments matter most when training stops on one of them.
            self.flush_events()
            if self.reporter:
                done = trainer.at.nimg >= settings.total_nimg
                self.reporter.write("finished" if done else self.state)
            self.logger.close()
            trainer.stream.close()
        return None

    def again(self) -> Namespace:
        """What this run was started with, to go on from its newest checkpoint."""
        given = self.given
        given.run.dir, given.run.resume = str(self.folder), "must"
        return given

    def flush_events(self) -> None:
        """Writes down what was skipped since the last line of the log."""
        for event in self.trainer.events:
            if self.world.rank == 0:
                self.logger.append("health.jsonl", event)
        self.trainer.events.clear()

    def loop(self, stop: StopRequest) -> None:
        settings, trainer = self.config.train, self.trainer
        if trainer.at.nimg == 0:
            self.pictures.show(reals=True)
        elif self.stalled():
            return  # a run that had ended by its score, started again
        react(self, self.checkups.still_there())
        for at in trainer.run(settings.total_nimg):
            self.logger.progress(at.nimg)
            by_clock = self.clock.due(stop, self.engine)
            done = at.nimg >= settings.total_nimg
            ends = not done and bool(by_clock & {"asked", "end", "job"})
            line: dict[str, float] = {}
            if done or trainer.crossed(settings.log_every_nimg):
                line |= self.logger.tick(trainer, self.checkups.signals())
                self.clock.happened("report")
            elif "report" in by_clock or ends:
                self.logger.glance(trainer)
                self.clock.happened("report")
            if self.checkups.look_due(done):
                line |= self.look()
            drawn = done or trainer.crossed(settings.sample_every_nimg)
            if drawn or "picture" in by_clock or ends:
                self.pictures.show(measure=drawn)
                self.clock.happened("picture")
            if self.snapshot_due(done):
                self.snapshot()
            scored = self.evaluate(done)
            react(self, [n for n in self.diagnose(line | scored) if n.state == "begins"])
            if self.reporter and not done and (drawn or scored):
                self.logger.pause(self.reporter.offer())
            if done or ends or scored or self.save_due(by_clock):
                self.save()
                self.clock.happened("checkpoint")
            if scored and self.stalled():
                return
            if ends:
                return self.end_early(by_clock)
        agree(self.world, self.saver.wait)
        self.logger.say(f"done: {trainer.at.nimg} images, results in {self.folder}")

    def save_due(self, by_clock: set[str]) -> bool:
        return "checkpoint" in by_clock or self.trainer.crossed(self.config.train.save_every_nimg)

    def end_early(self, by_clock: set[str]) -> None:
        """Waits until everything is on the disk, and says why this was the end. Raises Requeue."""
        agree(self.world, self.saver.wait)
        saved = f"saved at {self.trainer.at.nimg} images; continue with --run.resume auto"
        if "asked" in by_clock:
            raise Requeue(f"asked to stop by a signal: {saved}")
        if "job" in by_clock:
            raise Requeue(f"SLURM ends this job in a moment: {saved}")
        self.logger.say(f"{self.config.train.max_seconds:g} seconds are over: {saved}")

    def stalled(self) -> bool:
        """Whether the score has not improved for as long as `train.stop` says; then that is said.

        All ranks ask; the last checkpoint is on the disk when the answer is yes.
        """
        found = self.scores and self.scores.stalled()
        if found is None:
            return False
        agree(self.world, self.saver.wait)
        best = self.folder / "checkpoints" / f"{found.best_nimg:09d}"
        self.logger.say(f"{found.sentence()}; it is kept in {best}")
        return True

    def snapshot_due(self, done: bool) -> bool:
        """At multiples of the interval, and at the end: there the last checkpoint is."""
        every = self.config.train.snapshot_every_nimg
        return every is not None and (done or self.trainer.crossed(every))

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
        share_counts(self.source, self.world)
        state = {
            **self.trainer.state_dict(),
            "config": as_dict(self.config),
            "spec": vars(self.spec),
            "class_names": list(self.source.info.class_names or []),
            "tally": tally_state(self.trainer),
            "label_counts": list(self.source.info.label_counts),
            "micro_batch_size": self.trainer.batch_size // self.trainer.micro_batches,
            "processes": self.world.size,
            "health": self.checkups.state_dict(),
        }
        agree(self.world, self.saver.wait)  # for the one before
        model, optimizer = self.engine.model_state(), self.engine.optimizer_state()
        if self.world.rank == 0:
            best = self.scores.best_nimg() if self.scores else None
            content = checkpoint.Checkpoint(
                checkpoint.on_host(model), checkpoint.on_host(optimizer), state
            )
            self.saver.begin(self.trainer.at.nimg, content, keep_nimg=best)

    def look(self) -> dict[str, float]:
        """Signals of samples: in metrics.jsonl and the trackers."""
        found, nimg = self.checkups.look(), self.trainer.at.nimg
        if found and self.world.rank == 0:
            self.logger.append("metrics.jsonl", {"nimg": nimg, **found})
            self.trackers.log(found, nimg)
        return found

    def diagnose(self, line: dict[str, float]) -> list[Notice]:
        """Verdicts that begin or end with the numbers of this moment: in health.jsonl, and said."""
        if not line:
            return []
        notices = self.checkups.judge({"nimg": self.trainer.at.nimg, **line})
        for notice in notices:
            if self.world.rank == 0:
                self.logger.append("health.jsonl", notice.line())
            self.logger.say(sentence(notice))
        return notices

    def evaluate(self, done: bool) -> dict[str, float]:
        """Scores where they were due: in metrics.jsonl, the trackers and scores.png, too."""
        if self.scores is None or not self.scores.due(done):
            return {}
        start, nimg = time.perf_counter(), self.trainer.at.nimg
        found = self.scores()
        self.logger.pause(time.perf_counter() - start)
        values = {f"{PREFIX}{name}": value for name, value in found.items()}
        if self.world.rank == 0:
            self.logger.append("metrics.jsonl", {"nimg": nimg, **values})
            self.trackers.log(values, nimg)
            self.logger.say(self.scores.sentence(found))
            self.scores.draw()
        return values

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
