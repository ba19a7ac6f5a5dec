"""Checkpoints are written beside training, which stops for no longer than a copy to the host.

Also what one needs on the disk, and a trial of writing one and reading it again.
"""

import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

import torch

from largegan import checkpoint
from largegan.checkpoint import Checkpoint
from largegan.errors import UserError
from largegan.parallel.launch import World, agree
from largegan.recipe import Recipe
from largegan.run.lock import RunLock
from largegan.trainer import Trainer


class Saver:
    """Writes, hashes and prunes on a thread of its own, one checkpoint at a time.

    A kill at any instant leaves what `checkpoint.save` leaves: earlier checkpoints, whole. Only
    rank 0 has one.

    Args:
        folder: of all checkpoints of the run.
        lock: checked before anything is written.
        keep_last, keep_every_nimg: see `checkpoint.prune`.
    """

    def __init__(self, folder: Path, lock: RunLock, *, keep_last: int, keep_every_nimg: int | None):
        self.folder, self.lock = folder, lock
        self.keep_last, self.keep_every_nimg = keep_last, keep_every_nimg
        self._thread: threading.Thread | None = None
        self._fault: Exception | None = None

    def begin(self, nimg: int, content: Checkpoint, *, keep_nimg: int | None) -> None:
        """Starts to write what nobody changes any more (`checkpoint.on_host`).

        Waits for the one before; raises what went wrong with that.
        """
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(nimg, content, keep_nimg))
        self._thread.start()

    def wait(self) -> None:
        """Until everything is on the disk; raises what went wrong on the way there."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    def close(self) -> None:
        """As `wait`, for a run that ends with an error of its own: this one is only said."""
        try:
            self.wait()
        except UserError as fault:
            print(f"error: {fault}", file=sys.stderr, flush=True)

    def _run(self, nimg: int, content: Checkpoint, keep_nimg: int | None) -> None:
        try:
            self.lock.check()
            checkpoint.save(self.folder, nimg, content)
            checkpoint.prune(
                self.folder,
                keep_last=self.keep_last,
                keep_every_nimg=self.keep_every_nimg,
                keep_nimg=keep_nimg,
            )
        except Exception as fault:  # whatever it is, the main thread has to hear of it
            self._fault = fault


def checkpoint_bytes(recipe: Recipe) -> int:
    """All weights and averages, and Adam's two moments of what learns."""
    state = checkpoint.unaliased(recipe.state_dict()).values()
    learning = {p for player in recipe.players.values() for p in player.parameters()}
    return sum(t.nbytes for t in state) + 2 * sum(p.nbytes for p in learning)


class Trial(NamedTuple):
    """What came of saving a checkpoint and loading it again."""

    bytes: int
    seconds: float  # to save it
    lost: list[str]  # tensors that are not what was saved


def there_and_back(trainer: Trainer, world: World, folder: Path) -> Trial:
    """Saves all that the steps have made, on rank 0, and restores it on all."""
    engine, start = trainer.engine, time.perf_counter()
    model, optimizer = engine.model_state(), engine.optimizer_state()
    content = Checkpoint(
        checkpoint.on_host(model), checkpoint.on_host(optimizer), trainer.state_dict()
    )
    path = agree(world, lambda: checkpoint.save(folder, 1, content))
    seconds = time.perf_counter() - start
    found = checkpoint.load(path)
    engine.load_model_state(found.model)
    engine.load_optimizer_state(found.optimizer)
    saved = content.model | content.optimizer
    again = engine.model_state() | engine.optimizer_state()
    lost = [name for name, tensor in saved.items() if not torch.equal(again[name].cpu(), tensor)]
    return Trial(sum(t.nbytes for t in saved.values()), seconds, lost)
