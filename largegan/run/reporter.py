"""Keeps RUN/report.html up to date while a run goes on, for a hundredth of its time at most."""

import time
from collections.abc import Callable
from pathlib import Path

from largegan.errors import UserError

NAME = "report.html"
SHARE = 0.01  # of the time
FIRST_S = 0.2  # what the first one is expected to cost


class Reporter:
    """Writes the report of a run; what goes wrong with that is said, and does not stop training.

    Args:
        folder: the run directory.
        say: shows a line.
    """

    def __init__(self, folder: Path, say: Callable[[str], None]):
        from largegan.viz.report.strip import Album

        self.folder, self.say, self.album = folder, say, Album()
        self.cost_s, self.last = FIRST_S, time.monotonic()

    def offer(self) -> float:
        """Writes a report unless the last one is too fresh; returns the seconds that it took."""
        if (time.monotonic() - self.last) * SHARE < self.cost_s:
            return 0.0
        return self.write("running")

    def write(self, state: str) -> float:
        """Writes the report of a run that is in this `state`; returns the seconds that it took."""
        from largegan.run.story import tell
        from largegan.viz.report.page import write_report

        start = time.monotonic()
        try:
            write_report(self.folder / NAME, [tell(self.folder, state=state)], self.album)
        except UserError as fault:
            self.say(f"no report was written: {fault}")
        except Exception as fault:  # whatever it is, training is worth more
            self.say(f"no report was written: {type(fault).__name__}: {fault}")
        self.last = time.monotonic()
        self.cost_s = self.last - start
        return self.cost_s
