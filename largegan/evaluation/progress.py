"""What people see while features are computed: a bar on a terminal, a line a minute in a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator

from largegan.parallel.launch import World

Bar = Callable[[Iterable, int], Iterable]  # wraps what a person waits for; total in images
PAUSE = 60.0  # seconds between lines
# Processor seconds of an image on a CPU, as measured: small ones, and large ones or transforms.
CHEAPEST, DEAREST = 0.1, 0.3
WORTH_SAYING = 120.0  # processor seconds


def progress_bar(name: str, world: World) -> Bar:
    """For the first process, when there is something to wait for; total is that of its share."""
    from tqdm import tqdm

    def show(spans: Iterable, total: int) -> Iterator:
        if world.rank:
            yield from spans
            return
        say_cost(name, total, world)
        with tqdm(total=total, unit="img", desc=name, disable=None, delay=1) as shown:
            lines = Lines(name, total) if shown.disable else None
            for span in spans:
                yield span
                shown.update(span[1] - span[0])
                if lines is not None:
                    lines.update(span[1] - span[0])

    return show


def say_cost(name: str, images: int, world: World) -> None:
    """What so many images cost, where it is worth saying; by the first process."""
    if not world.rank and world.device.type == "cpu" and images * DEAREST > WORTH_SAYING:
        say(cost(name, images))


def cost(name: str, images: int) -> str:
    """What a processor will need, said before it begins."""
    least, most = (images * each for each in (CHEAPEST, DEAREST))
    return f"{name}: {images} images, {duration(least)} to {duration(most)} of one processor core"


class Lines:
    """How far it has come and how long it will take: after the first part, then every minute.

    Args:
        name: what is computed.
        total: images.
        now: a clock in seconds.
    """

    def __init__(self, name: str, total: int, *, now: Callable[[], float] = time.monotonic):
        self.name, self.total, self.now = name, total, now
        self.done, self.begun, self.said = 0, now(), float("-inf")

    def update(self, images: int) -> None:
        """So many more are done."""
        self.done += images
        at = self.now()
        left = (at - self.begun) / self.done * (self.total - self.done)
        if left >= 1 and at - self.said >= PAUSE:
            self.said = at
            say(f"{self.name}: {self.done} of {self.total} images, about {duration(left)} left")


def duration(seconds: float) -> str:
    """In the unit in which people would say it."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
