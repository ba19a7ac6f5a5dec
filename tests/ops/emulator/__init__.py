"""Kernels on a CPU: `launch(plan)` runs a plan whose addresses are those of CPU tensors.

The text that a GPU runs is compiled by g++ with `emulator.h`, once for each set of defines, into a
folder that is kept while its contents fit.
"""

import ctypes
import hashlib
import os
import shutil
import struct
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from largegan.ops.runtime import cubins
from largegan.ops.runtime.plan import Plan

HERE = Path(__file__).parent
OPTIONS = ("-std=c++17", "-O1", "-w", "-shared", "-fPIC")
compiler = shutil.which("g++")


def launch(plan: Plan, device=None, first=(0, 0, 0), end=None) -> bool:
    """In place of `backend.launch`; AssertionError if a plan is not what its kernel expects.

    Runs the blocks from `first` up to `end`: all by default.
    """
    library = _library(plan.source, plan.defines)
    assert library.params_size() == len(plan.params), "Params is not what the plan packs"
    threads = plan.block[0] * plan.block[1] * plan.block[2]
    assert 1 <= threads <= (1024 if plan.source == "norm.cu" else 256)  # their launch bounds
    assert min(plan.grid) >= 1 and max(plan.grid[1:]) <= 65535
    assert 0 <= plan.shared <= 232448
    if int(dict(plan.defines).get("VECTOR", 1)) > 1:  # words of x, y, and a third image
        assert not any(address % 16 for address in struct.unpack_from("<3Q", plan.params))
    sizes = [
        (ctypes.c_uint * 3)(*values) for values in (plan.grid, plan.block, first, end or plan.grid)
    ]
    library.emulate(plan.params, *sizes)
    return True


@cache
def _library(source: str, defines: tuple[tuple[str, str], ...]) -> ctypes.CDLL:
    macros = [f"-D{name}={value}" for name, value in defines]
    (path,) = cubins.KERNELS.rglob(source)
    headers = sorted(cubins.KERNELS.rglob("*.cuh"))
    folders = [f"-I{folder}" for folder in sorted({file.parent for file in (path, *headers)})]
    command = [*OPTIONS, *folders, f'-DSOURCE="{source}"', *macros]
    texts = [path, *headers, HERE / "emulator.h"]
    content = "\0".join([*command, *(path.read_text() for path in texts)])
    name = hashlib.sha256(content.encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"largegan-emulator-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    assert folder.stat().st_uid == os.getuid(), f"{folder} belongs to somebody else"
    library = folder / f"{name}.so"
    if not library.exists():
        made = folder / f"{name}.{os.getpid()}.so"
        command = [compiler, *command, "-o", str(made), "-x", "c++", str(HERE / "emulator.h")]
        subprocess.run(command, check=True)
        os.replace(made, library)
    return ctypes.CDLL(str(library))
