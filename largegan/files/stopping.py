"""Tools that are ended by a signal clean up after themselves, as they do when they fail."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

ENDED_BY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal asked this program to end; what is unfinished is cleaned up on the way."""

    def __init__(self, number: int):
        super().__init__(number)
        self.name, self.exit_code = signal.Signals(number).name, 128 + number


@contextlib.contextmanager
def stops() -> Iterator[None]:
    """The first signal becomes `Stopped`; later ones must not interrupt the cleaning up.

    Processes forked off (readers of data) end at once, as they would without this.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def stop(number: int, frame: object) -> None:
        for each in ENDED_BY:
            signal.signal(each, signal.SIG_IGN if os.getpid() == owner else signal.SIG_DFL)
        if os.getpid() != owner:
            os.kill(os.getpid(), number)
        raise Stopped(number)

    # A signal that is ignored already (nohup) stays ignored.
    wanted = [n for n in ENDED_BY if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
