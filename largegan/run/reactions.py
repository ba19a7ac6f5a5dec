"""What a run does when a verdict begins: nothing, or what health.on_VERDICT asks for."""

import sys
from typing import TYPE_CHECKING, NoReturn

from largegan.config.checks import actions_of
from largegan.errors import HealthStop
from largegan.health.diagnosis import sentence
from largegan.health.records import Notice
from largegan.parallel.launch import agree
from largegan.run import rollback
from largegan.run.rollback import RolledBack

if TYPE_CHECKING:
    from largegan.run.session import Session


def react(session: "Session", begun: list[Notice]) -> None:
    """All ranks call it with the same verdicts, and do the same: to stop goes before to turn back.

    Raises HealthStop, RolledBack.
    """
    wanted = actions_of(session.config.health)
    for action, carry_out in ACTIONS.items():
        for notice in begun:
            if wanted.get(notice.verdict) == action:
                carry_out(session, notice)


def warn(session: "Session", notice: Notice) -> None:
    if session.world.rank == 0:
        print(f"warning: {sentence(notice)}", file=sys.stderr, flush=True)


def stop(session: "Session", notice: Notice) -> NoReturn:
    """Saves, and ends the run."""
    save(session)
    raise HealthStop(
        f"stopped at {session.trainer.at.nimg} images, as health.on_{notice.verdict} says: "
        f"{sentence(notice)}"
    )


def roll_back(session: "Session", notice: Notice) -> NoReturn:
    """Makes an older checkpoint the one that this run goes on from."""
    session.flush_events()
    agree(session.world, session.saver.wait)

    def turn() -> list[str]:
        session.lock.check()
        plan = rollback.planned(
            session.folder, session.config, session.given, notice, session.trainer.at.nimg
        )
        return rollback.turn(session.folder, plan)

    try:
        said = agree(session.world, turn)
    except HealthStop:
        save(session)
        raise
    for line in said:
        session.logger.say(line)
    session.state = "running"
    raise RolledBack


def save(session: "Session") -> None:
    """Until it is on the disk."""
    session.save()
    agree(session.world, session.saver.wait)


ACTIONS = {"warn": warn, "stop": stop, "rollback": roll_back}
