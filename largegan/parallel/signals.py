"""Being asked to stop: SLURM's USR1 and TERM become a flag that all ranks read alike."""

import signal

import torch

from largegan.parallel.engine import Engine

ASKED_BY = (signal.SIGTERM, signal.SIGUSR1)


class StopRequest:
    """Listens from its creation on. The loop asks between iterations, never in the middle of one.

    Schedulers send the signal to some ranks, to all, or to each at another moment; what counts is
    that some rank got one, and that all ranks learn of it after the same iteration.
    """

    def __init__(self, engine: Engine):
        self.engine, self.heard = engine, False
        self.before = {s: signal.signal(s, self._hear) for s in ASKED_BY}

    def _hear(self, number: int, frame: object) -> None:
        self.heard = True

    def agreed(self) -> bool:
        """Whether any rank was asked to stop. All ranks call this after each iteration."""
        if self.engine.world == 1:
            return self.heard
        flag = torch.tensor([float(self.heard)], device=self.engine.device)
        return bool(self.engine.mean(flag) > 0)

    def close(self) -> None:
        """Gives the signals back to whom they belonged."""
        for number, handler in self.before.items():
            signal.signal(number, handler)
