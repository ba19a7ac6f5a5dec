"""Python, the installed packages against what the project needs, and whether decoders decode."""

import io
import platform
import re
import sys
from collections.abc import Iterator
from importlib import import_module, metadata

from largegan.doctor.finding import Finding, Visit

OPTIONAL = {"deepspeed", "tensorboard", "wandb"}
DECODERS = {"simplejpeg": ("decode_jpeg", "JPEG"), "pyspng": ("load", "PNG")}


def check_python(visit: Visit) -> Iterator[Finding]:
    needs = re.sub(r"^>=", "", metadata.metadata("largegan")["Requires-Python"] or ">=3.10")
    fine = tuple(sys.version_info) >= tuple(int(n) for n in re.findall(r"\d+", needs))
    facts = f"{platform.python_version()} on {platform.system()}"
    if fine:
        yield Finding("ok", "python", facts)
    else:
        yield Finding("FAIL", "python", facts, f"use Python {needs} or newer")


def check_packages(visit: Visit) -> Iterator[Finding]:
    """Every requirement of the project against what is installed."""
    from packaging.requirements import Requirement  # comes with accelerate

    fine = []
    for line in metadata.requires("largegan") or []:
        requirement = Requirement(line)
        name = requirement.name
        optional = bool(requirement.marker) and "extra" in str(requirement.marker)
        if name == "largegan" or (optional and name not in OPTIONAL):
            continue
        installed = version_of(name)
        if installed and requirement.specifier.contains(installed, prereleases=True):
            fine.append(f"{name} {installed}")
        elif installed or not optional:
            yield unfit(name, installed, str(requirement.specifier), optional)
    yield Finding("ok", "packages", ", ".join(fine))


def unfit(name: str, installed: str | None, needs: str, optional: bool) -> Finding:
    facts = f"{installed}, but the project needs {needs}" if installed else "not installed"
    return Finding("warn" if optional else "FAIL", name, facts, f'pip install "{name}{needs}"')


def check_decoders(visit: Visit) -> Iterator[Finding]:
    """The compiled decoders are present and give back what was encoded."""
    import numpy as np
    from PIL import Image

    gray = np.full((16, 16, 3), 96, np.uint8)
    working = []
    for name, (function, format_) in DECODERS.items():
        encoded = io.BytesIO()
        Image.fromarray(gray).save(encoded, format_)
        try:
            decoded = getattr(import_module(name), function)(encoded.getvalue())
        except (ImportError, AttributeError, ValueError) as fault:
            yield Finding("FAIL", name, f"does not work ({fault})", f"pip install {name}")
            continue
        if np.abs(decoded.astype(int) - gray).max() > 2:
            yield Finding("FAIL", name, "decodes wrongly", f"pip install --force-reinstall {name}")
        else:
            working.append(f"{name} {version_of(name)}")
    yield Finding("ok", "decoders", ", ".join(working) or "none")


def version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
