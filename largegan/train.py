"""The entry point: reads the configuration, builds everything once, and trains.

python -m largegan.train --config FILE, accelerate launch -m largegan.train --config FILE, torchrun
and srun all do the same. From here it is two hops to a paper: `trainer.py`, then the recipe.
"""

import gc
import os
import sys

from jsonargparse import Namespace

from largegan.config.parse import parse
from largegan.errors import EnvironmentFault, Requeue, UserError, of_the_machine


def main(argv: list[str] | None = None) -> int:
    """Runs the program; returns its exit code. An error is one sentence, not a traceback."""
    # Read once, when torch loads. A thread that waits by spinning takes the core that the thread
    # it waits for needs: on a busy machine two threads were 10 times slower than one. A short
    # spin keeps what spinning is good for on an idle one.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        words = sys.argv[1:] if argv is None else argv
        config = folder_alone(words) if words and words[0][:1] != "-" else parse(words)
        if config.dry_run:
            announce(config)
        else:
            train(config)
    except Requeue as end:  # which is no error
        print(end, file=sys.stderr, flush=True)
        return end.exit_code
    except UserError as fault:
        print(f"error: {fault}", file=sys.stderr, flush=True)
        return fault.exit_code
    except (OSError, MemoryError) as fault:
        print(f"error: {of_the_machine(fault)}", file=sys.stderr, flush=True)
        return EnvironmentFault.exit_code
    except KeyboardInterrupt:
        print("error: interrupted; continue with --run.resume auto", file=sys.stderr, flush=True)
        return 130
    return 0


def folder_alone(words: list[str]) -> Namespace:
    """`largegan train FOLDER`: the configuration of the preset that suits it; one rank says why."""
    from largegan.doctor.dry_run import duration
    from largegan.run.suggestion import suggest

    suggestion = suggest(words)
    config = parse(suggestion.words)
    if suggestion.notes and os.environ.get("RANK", "0") == "0":
        print(*suggestion.notes, duration(config, suggestion.seconds), sep="\n", flush=True)
    return config


def announce(config: Namespace) -> None:
    """What the run would cost; one rank says it."""
    from largegan.doctor.dry_run import dry_run

    if os.environ.get("RANK", "0") == "0":
        print(dry_run(config), flush=True)


def train(config: Namespace) -> None:
    """Joins the process group and trains from the configuration's start to its end.

    A run that goes back to an older checkpoint is built anew from there.
    """
    from largegan.parallel.launch import connect, disconnect, reporting
    from largegan.parallel.signals import StopRequest
    from largegan.run.lock import RunLock
    from largegan.run.session import Session

    stop, lock, parallel = StopRequest(), RunLock(), config.parallel
    try:
        world = connect(
            parallel.processes, cpu_threads=config.train.cpu_threads, timeout_s=parallel.timeout_s
        )
        with reporting():
            while (again := Session(config, world, lock).run(stop)) is not None:
                config = again
                gc.collect()  # networks of the session before
    finally:
        stop.close()
        lock.release()
        disconnect()


if __name__ == "__main__":
    from largegan.parallel.launch import leave

    leave(main())
