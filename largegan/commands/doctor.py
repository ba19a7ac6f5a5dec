"""Check that training can work here: one line each, and what to do where it cannot.

  largegan doctor                                   the machine and the packages
  largegan doctor --config configs/quickstart.yaml  also the settings, data, networks and disk
  largegan doctor --config FILE --data.path SHARDS --train.batch_size 256
  accelerate launch --multi_gpu --num_processes 8 -m largegan doctor --config FILE
                                                    also whether the processes find each other

Takes the options of `largegan train`. Started as several processes, all of them look; the first one
reports, the others say only what is wrong with them. Nothing is left on the disk.
Exit codes: 0 nothing failed, else that of the first failure: 2 configuration, 3 data, 4 machine.
"""

import sys
from importlib import import_module, metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from largegan.doctor.finding import Finding, Visit

NOT_INSTALLED = "FAIL  largegan: not installed in this Python; pip install -e ."
MACHINE = 4


def main(argv: list[str] | None = None) -> int:
    """Prints the findings as they are made; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if {"-h", "--help"} & set(argv):
        print(__doc__)
        return 0
    if not installed():
        print(NOT_INSTALLED)
        return MACHINE
    from largegan.doctor.examine import examine
    from largegan.doctor.finding import Visit

    code, visit, failed = 0, Visit(argv), []
    try:
        for finding in examine(visit):
            show(finding, visit)
            if finding.level == "FAIL":
                code = code or finding.code
                failed.append(finding.what)
    finally:
        leave_group()
    if failed and visit.rank == 0:
        print(f"error: {', '.join(dict.fromkeys(failed))}: see FAIL above", file=sys.stderr)
    return code


def installed() -> bool:
    try:
        metadata.metadata("largegan")
        import_module("largegan.errors")
    except ImportError:  # PackageNotFoundError is one
        return False
    return True


def show(finding: "Finding", visit: "Visit") -> None:
    """Everything on the first rank; on the others what is wrong with them."""
    if visit.rank == 0:
        line = str(finding)
    elif finding.level in ("warn", "FAIL"):
        line = f"rank {visit.rank}: {finding}"
    else:
        return
    print(line + "\n", end="", flush=True)  # in one piece: ranks share the terminal


def leave_group() -> None:
    if "torch" in sys.modules:  # else there is no group, and perhaps no torch
        from largegan.parallel.launch import disconnect

        disconnect()
