"""What is due by the clock, beside what is due by images: people wait in minutes.

Nothing here changes what is trained or logged: by the clock a run says a line, draws and saves.
So a run that was stopped and went on has the bytes of one that was not.
"""

import os
import time
from collections.abc import Callable, Mapping

import torch

from largegan.parallel.engine import Engine
from largegan.parallel.signals import StopRequest

NAMES = ("asked", "report", "picture", "checkpoint", "end", "job")


class Clock:
    """Rank 0's clock, which counts for all, and the signals, which count whoever gets one.

    Args:
        minutes: between lines ("report"), pictures and checkpoints; None: not by the clock.
        max_seconds: after which a start ends ("end"); None: never.
        job_ends: when the job that this start runs in has to be over ("job"), in seconds since
            1970; None: it need not. Compared with the clock on the wall, which SLURM has, too.
    """

    def __init__(
        self,
        minutes: Mapping[str, float | None],
        max_seconds: float | None,
        *,
        job_ends: float | None = None,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ):
        self.now, self.wall, self.job_ends = now, wall, job_ends
        self.seconds = {name: m * 60 for name, m in minutes.items() if m is not None}
        self.last = dict.fromkeys(self.seconds, now())
        self.max_seconds = max_seconds
        self.first = True

    def due(self, stop: StopRequest, engine: Engine) -> set[str]:
        """Some of `NAMES`, the same on all ranks, which ask together after each iteration.

        The first iteration of a start is always reported.
        """
        own = [engine.rank == 0 and self._due(name) for name in NAMES[1:-2]]
        ends = [engine.rank == 0 and over for over in (self._over(stop), self._job_over())]
        flags = [float(stop.heard), *own, *ends]
        if engine.world > 1:
            flags = engine.mean(torch.tensor(flags, device=engine.device)).tolist()
        self.first = False
        return {name for name, flag in zip(NAMES, flags, strict=True) if flag > 0}

    def happened(self, *names: str) -> None:
        """Somebody has seen, or kept, something: the next is due one interval later."""
        self.last |= {name: self.now() for name in names if name in self.last}

    def _due(self, name: str) -> bool:
        if name == "report" and self.first:
            return True
        return name in self.last and self.now() - self.last[name] >= self.seconds[name]

    def _over(self, stop: StopRequest) -> bool:
        return self.max_seconds is not None and self.now() - stop.begun >= self.max_seconds

    def _job_over(self) -> bool:
        return self.job_ends is not None and self.wall() >= self.job_ends


def end_of_job(margin: float | None) -> float | None:
    """`margin` seconds before SLURM ends this job, since 1970; None where neither is known.

    A number that is none, or that lies in the past when training begins (a limit that was raised
    after the job started is not told to it), is not believed.
    """
    told = os.environ.get("SLURM_JOB_END_TIME", "")
    if margin is None or not told.isdecimal() or len(told) > 12:
        return None
    ends = int(told) - margin
    return ends if ends > time.time() else None
