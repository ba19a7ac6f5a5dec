"""A rank that stops is named: each tells the others where it is, and one that waits too long looks.

The main thread only notes where it is. A second thread writes that to the store through which the
ranks found each other, every few seconds. When the main thread has waited for the others longer
than allowed, the second one reads what they wrote last, says who did not come, and ends the
process: the main thread cannot, it stands in a collective that nobody interrupts.
"""

import faulthandler
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed import TCPStore

VERDICT = "largegan/verdict"
FAULT = "largegan/fault"


class Watch:
    """Watches the ranks of one process group.

    Args:
        rank, size: who I am among how many.
        timeout_s: how long a rank may wait for the others.
        store: where ranks write where they are.
        end: ends this process after the verdict, from the watching thread.
    """

    def __init__(
        self,
        rank: int,
        size: int,
        *,
        timeout_s: float,
        store: "TCPStore",
        end: Callable[[], None],
    ):
        self.rank, self.size, self.timeout_s = rank, size, timeout_s
        self.store, self.end = store, end
        self.beat_s = min(5.0, timeout_s / 10)
        self.place, self.waiting, self.since, self.beats = "start-up", False, time.monotonic(), 0
        self.fault: tuple[int, str] | None = None  # what ended another rank: exit code, sentence
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def at(self, place: str) -> None:
        """The main thread begins something."""
        self.place, self.since = place, time.monotonic()

    @contextmanager
    def wait(self) -> Iterator[None]:
        """Around what needs the other ranks."""
        before, self.waiting, self.since = self.waiting, True, time.monotonic()
        try:
            yield
        finally:
            self.waiting, self.since = before, time.monotonic()

    def report(self, code: int, sentence: str) -> None:
        """Tells the others why this rank ends, which they would only notice.

        They look once a beat, and with rank 0 ends the place where they look: it waits for that.
        """
        with suppress(RuntimeError):
            self.store.set(FAULT, json.dumps([code, f"rank {self.rank}: {sentence}"]))
            if self.rank == 0:
                time.sleep(1.5 * self.beat_s)

    def reported(self) -> tuple[int, str] | None:
        """Why another rank has ended, if it said so."""
        with suppress(RuntimeError):
            if self.fault is None and self.store.check([FAULT]):
                self.fault = tuple(json.loads(self.store.get(FAULT)))
        return self.fault

    def close(self) -> None:
        self._over.set()
        self._thread.join(2 * self.beat_s)

    def _run(self) -> None:
        while not self._over.wait(self.beat_s):
            late = self.waiting and time.monotonic() - self.since > self.timeout_s
            try:
                self._tell()
                self.reported()
                if late or self.store.check([VERDICT]):
                    self._judge()
            except RuntimeError:  # the store has gone: with rank 0's node, or because all is done
                if late and not self._over.is_set():
                    self._say("the process that the ranks met at (rank 0's node) does not answer")
                    self.end()

    def _tell(self) -> None:
        self.beats += 1
        me = {
            "place": self.place,
            "waiting": self.waiting,
            "seconds": time.monotonic() - self.since,
            "beats": self.beats,
            "node": socket.gethostname(),
            "pid": os.getpid(),
        }
        self.store.set(f"largegan/{self.rank}", json.dumps(me))

    def _judge(self) -> None:
        """The first who waited too long says who did not come; everybody ends."""
        if self.store.add(f"{VERDICT}/announced", 1) == 1:
            before = self._everyone()
            time.sleep(2.5 * self.beat_s)
            self._tell()
            self._say(sentence(before, self._everyone()))
            self.store.set(VERDICT, "given")
        else:
            self.store.wait([VERDICT], timedelta(seconds=10 * self.beat_s))
        if not self.waiting:  # this rank is the one: where does it stand?
            faulthandler.dump_traceback(sys.stderr)
        self.end()

    def _everyone(self) -> list[dict | None]:
        keys = [f"largegan/{rank}" for rank in range(self.size)]
        return [json.loads(self.store.get(k)) if self.store.check([k]) else None for k in keys]

    def _say(self, what: str) -> None:
        waited = f"waited {self.timeout_s:g} s (parallel.timeout_s)"
        print(f"error: {waited}: {what}", file=sys.stderr, flush=True)


def sentence(before: list[dict | None], now: list[dict | None]) -> str:
    """Who stopped, from what each rank wrote last and a few seconds earlier."""
    stopped = []
    for rank, (old, new) in enumerate(zip(before, now, strict=True)):
        if new is None:
            stopped.append(f"rank {rank} never arrived")
        elif old is not None and new["beats"] == old["beats"]:
            stopped.append(f"{_name(rank, new)} is stopped or gone, last seen in {new['place']}")
        elif not new["waiting"]:
            stopped.append(
                f"{_name(rank, new)} has been in {new['place']} for {new['seconds']:.0f} s"
            )
    if not stopped:
        places = ", ".join(f"rank {r} in {new['place']}" for r, new in enumerate(now) if new)
        return f"all ranks wait for each other ({places}); check the network between the nodes"
    return "; ".join(stopped) + "; continue with --run.resume auto"


def _name(rank: int, last: dict) -> str:
    return f"rank {rank} (process {last['pid']} on {last['node']})"


_watch: Watch | None = None  # one process is one rank of one group


def start(rank: int, size: int, *, timeout_s: float, end: Callable[[], None]) -> None:
    """Begins to watch the group that this process has joined."""
    global _watch
    from torch.distributed import TCPStore

    # A connection of its own: the main thread's may be busy when it matters.
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    limit = timedelta(seconds=min(30.0, timeout_s))
    store = TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=limit)
    _watch = Watch(rank, size, timeout_s=timeout_s, store=store, end=end)


def stop() -> None:
    """Nobody is waited for any more."""
    global _watch
    if _watch is not None:
        _watch.close()
    _watch = None


def report(code: int, sentence: str) -> None:
    """This rank ends for a reason that the others should hear; nothing where nobody watches."""
    if _watch is not None and _watch.reported() is None:
        _watch.report(code, sentence)


def reported() -> tuple[int, str] | None:
    """(exit code, sentence) of a rank that has ended."""
    return _watch.reported() if _watch is not None else None


def at(place: str) -> None:
    """Notes where the main thread is; nothing where nobody watches."""
    if _watch is not None:
        _watch.at(place)


@contextmanager
def waiting() -> Iterator[None]:
    """Around what needs the other ranks."""
    with _watch.wait() if _watch is not None else nullcontext():
        yield
