"""The command `largegan` and the table of what follows it: one file per command, one row here.

Nothing is imported until it is chosen, so that `largegan --help` answers at once. `tools/NAME.py`
and `python -m largegan.train` are doors to the same programs, for scripts and launchers.
"""

import difflib
import importlib
import os
import sys
from collections.abc import Callable
from importlib import metadata
from typing import NoReturn

TABLE = {
    # name: (module with `main(argv) -> exit code`, what it does)
    "train": ("largegan.train", "train a GAN, or say what that would cost"),
    "doctor": ("largegan.commands.doctor", "check that training can work here"),
    "pack": ("largegan.commands.pack", "write images as shards with an index"),
    "verify": ("largegan.commands.verify", "check shards: every byte, every image"),
    "cache": (
        "largegan.commands.cache",
        "list copies of images that trained as they are, or clear",
    ),
    "sample": ("largegan.commands.sample", "draw images from a checkpoint: a sheet, or files"),
    "walk": ("largegan.commands.walk", "a video of a walk through the latents"),
    "directions": ("largegan.commands.directions", "draw the main directions of StyleGAN's w"),
    "project": ("largegan.commands.project", "find the w of StyleGAN that draws a picture"),
    "encode": ("largegan.commands.encode", "write the codes of real images (ali, bigan)"),
    "translate": ("largegan.commands.translate", "translate images of any size"),
    "reduce": ("largegan.commands.reduce", "make the small images of super-resolution"),
    "compare": ("largegan.commands.compare", "score translations against the truth"),
    "fid": ("largegan.commands.fid", "FID, KID and more between two sets of images"),
    "curve": ("largegan.commands.curve", "a chart of quality against diversity"),
    "best": ("largegan.commands.best", "the best checkpoint of several runs"),
    "toys": ("largegan.commands.toys", "the 1-D toys of several recipes side by side"),
    "ema": ("largegan.commands.ema", "choose the best average of a run after training"),
    "report": ("largegan.commands.report", "write what a browser shows of a run, or of several"),
    "rollback": ("largegan.commands.rollback", "make a run go on from an older checkpoint"),
    "weights": ("largegan.commands.weights", "list, fetch and check feature networks"),
    "import_checkpoint": (
        "largegan.commands.import_checkpoint",
        "make a run of another code's checkpoint, executing nothing",
    ),
    "publish": ("largegan.commands.publish", "write a folder to share, with a model card"),
    "demo": ("largegan.commands.demo", "a page to try a model on, on this machine"),
    "export": ("largegan.commands.export", "write a network for other programs"),
    "ops": ("largegan.ops.__main__", "which fused operations are used here, and why"),
}

USAGE = """usage: largegan COMMAND [words of the command]

{table}

`largegan COMMAND --help` explains a command, `largegan --version` says which release this is.
Exit codes: 2 arguments or configuration, 3 data, 4 the machine, 5 stopped by its health,
75 start me again.
"""
BAD_WORDS = 2
STOPPED = 130  # by Ctrl-C, as shells count it


def main(argv: list[str] | None = None) -> int:
    """Runs the command that the first word names; returns its exit code."""
    words = sys.argv[1:] if argv is None else argv
    name, rest = (words[0], words[1:]) if words else ("", [])
    if name in TABLE:
        return run(name, rest)
    if name in ("-h", "--help"):
        print(overview(), end="")
        return 0
    if name == "--version":
        print(metadata.version("largegan"))
        return 0
    if not words:
        print(overview(), end="", file=sys.stderr)
        return BAD_WORDS
    print(f"error: there is no command {name!r}{nearest(name)}", file=sys.stderr)
    return BAD_WORDS


def overview() -> str:
    """All commands with a line each."""
    rows = (f"  {name:10s} {about}" for name, (_, about) in TABLE.items())
    return USAGE.format(table="\n".join(rows))


def nearest(name: str) -> str:
    found = difflib.get_close_matches(name, TABLE, 1)
    return f"; did you mean {found[0]}?" if found else f"; give one of {', '.join(TABLE)}"


def run(name: str, argv: list[str]) -> int:
    """The exit code of a command in the table."""
    return importlib.import_module(TABLE[name][0]).main(argv)


def program() -> NoReturn:
    """The installed program `largegan`."""
    finish(to_the_end(main))


def door(name: str) -> NoReturn:
    """What `tools/NAME.py` does: the command with the words that this process was started with."""
    finish(to_the_end(lambda: run(name, sys.argv[1:])))


def to_the_end(work: Callable[[], int]) -> int:
    """The exit code of `work`, once all that it says has been taken.

    What happens before a command can answer for itself (Ctrl-C while it is being loaded), and after
    it (a reader that has gone, a full disk behind what it says), ends in a sentence, too.
    """
    try:
        code = work()
        if sys.stdout is not None:  # which is closed where it is None
            sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("error: stopped by SIGINT before anything was begun", file=sys.stderr)
        return STOPPED
    except OSError as fault:
        from largegan.errors import EnvironmentFault, of_the_machine

        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be said goes nowhere
        if isinstance(fault, BrokenPipeError):  # as of `| head`
            return 0
        print(f"error: {of_the_machine(fault)}", file=sys.stderr)
        return EnvironmentFault.exit_code


def finish(code: int) -> NoReturn:
    """Ends the process as training does, if there was a process group or a launcher wants to know.

    See `leave`. Without either torch may not be loaded, and need not be.
    """
    if "largegan.parallel.launch" in sys.modules or "LARGEGAN_EXIT_FILE" in os.environ:
        from largegan.parallel.launch import leave

        leave(code)
    sys.exit(code)
