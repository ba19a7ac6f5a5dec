"""Runs the training program with a verdict that begins when it is told to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from largegan.health.diagnosis import Diagnosis
from largegan.health.records import Notice
from tests import forked
from tests.parallel.launching import free_port, patience

VERDICT = "mode_collapse"


@contextmanager
def falling_ill(at: int, times: int, since: int | None = None) -> Iterator[None]:
    """Within it the first `times` looks at the line of `at` images find collapsed modes.

    Lines of the past that are read again are no looks, so an illness that was found stays found.
    """
    found, real_add, real_replay = [0], Diagnosis.add, Diagnosis.replay

    def add(self, line):
        if line["nimg"] != at or found[0] >= times:
            return []
        found[0] += 1
        since_nimg = at - 16 if since is None else since
        notice = Notice(at, VERDICT, "begins", since_nimg, 0.9, {"health/auc": 1.0}, "all alike")
        self.open[VERDICT] = notice
        return [notice]

    def replay(self, lines):
        for line in lines:
            if line["nimg"] == at and found[0]:
                self.open[VERDICT] = Notice(at, VERDICT, "begins", at - 16, 0.9, {}, "all alike")

    Diagnosis.add, Diagnosis.replay = add, replay
    try:
        yield
    finally:
        Diagnosis.add, Diagnosis.replay = real_add, real_replay


def program(at: int, times: int, arguments: list[str], log: str, env: dict[str, str]) -> None:
    """What a rank does."""
    with falling_ill(at, times):
        forked.program(arguments, log, env)


def on_two_ranks(at: int, times: int, arguments: list[str], log: Path) -> str:
    """What two processes say that train together."""
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = []
    for rank in ("0", "1"):
        env = {**shared, "RANK": rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": "2"}
        args = (at, times, arguments, str(log), env)
        ranks.append(forked.CONTEXT.Process(target=program, args=args))
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(patience(120))
    assert [p.exitcode for p in ranks] == [0, 0], log.read_text()
    return log.read_text()
