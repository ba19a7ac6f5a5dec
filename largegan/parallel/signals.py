"""Being asked to stop: Ctrl-C, SLURM's USR1 and TERM become a flag that all ranks read alike."""

import os
import signal
import time

ASKED_BY = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopRequest:
    """Listens from its creation on. The loop asks between iterations, never in the middle of one.

    It is created before torch is imported: a signal that comes while everything is still being
    set up is obeyed after the first iteration.

    Schedulers send the signal to some ranks, to all, or to each at another moment; what counts is
    that some rank got one, and that all ranks learn of it after the same iteration.
    """

    def __init__(self) -> None:
        self.heard = False
        self.begun = time.monotonic()  # of this start, also where it goes back and builds anew
        self.before = {s: signal.signal(s, self._hear) for s in ASKED_BY}

    def _hear(self, number: int, frame: object) -> None:
        if number == signal.SIGINT:
            if self.heard:
                raise KeyboardInterrupt
            os.write(2, b"\nstopping after this iteration, and saving; Ctrl-C again: at once\n")
        self.heard = True

    def close(self) -> None:
        """Gives the signals back to whom they belonged."""
        for number, handler in self.before.items():
            signal.signal(number, handler)
