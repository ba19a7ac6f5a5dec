"""Runs the checks in order. Whatever happens becomes a finding: a doctor does not collapse."""

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module

from largegan.doctor.finding import Check, Finding, Visit
from largegan.errors import ConfigError, DataError, EnvironmentFault, UserError

CONFIG, DATA, MACHINE = (e.exit_code for e in (ConfigError, DataError, EnvironmentFault))

# Each is imported when its turn comes: where torch is missing, the first ones can still say so.
CHECKS = [
    # what, exit code of its failures, module:function
    ("python", MACHINE, "packages:check_python"),
    ("packages", MACHINE, "packages:check_packages"),
    ("devices", MACHINE, "machine:check_devices"),
    ("cpu", MACHINE, "machine:check_cpu"),
    ("decoders", MACHINE, "packages:check_decoders"),
    ("config", CONFIG, "training:check_config"),
    ("processes", MACHINE, "processes:check_processes"),
    ("data", DATA, "data:check_data"),
    ("networks", CONFIG, "training:check_networks"),
    ("trackers", MACHINE, "rehearsal:check_trackers"),
    ("evaluation", MACHINE, "rehearsal:check_evaluation"),
    ("run directory", MACHINE, "disk:check_run_directory"),
    ("checkpoint", MACHINE, "rehearsal:check_checkpoint"),
]


def examine(visit: Visit) -> Iterator[Finding]:
    """All findings, as they are made. Ends early where the other checks would have no ground."""
    for what, code, place in CHECKS:
        for finding in safely(what, code, place, visit):
            yield finding
            if finding.level == "FAIL" and what in ("config", "processes"):
                return
            if finding.level == "FAIL" and what == "data":
                visit.source = None  # nothing more to learn from it


def safely(what: str, code: int, place: str, visit: Visit) -> Iterator[Finding]:
    """The findings of a check; whatever it raises becomes one."""
    try:
        for finding in check_at(place)(visit):
            yield replace(finding, code=finding.code or code)
    except UserError as fault:
        yield Finding("FAIL", what, str(fault), code=fault.exit_code)
    except Exception as fault:  # foreseen by nobody, and reported with its kind
        yield unforeseen(what, code, fault)


def check_at(place: str) -> Check:
    """The function behind `module:function`."""
    module, function = place.split(":")
    return getattr(import_module(f"largegan.doctor.{module}"), function)


def unforeseen(what: str, code: int, fault: Exception) -> Finding:
    kind, text = type(fault).__name__, " ".join(str(fault).split())[:300]
    remedy = "please report it with this line"
    if kind == "OutOfMemoryError":
        remedy, code = "use a smaller train.micro_batch_size", MACHINE
    return Finding("FAIL", what, f"{kind}: {text}", remedy, code)
