"""Freed memory stays with the process: measured by page faults, in a process of its own."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from largegan.evaluation.host_memory import keep_freed_memory
torch.set_num_threads(1)
assert sys.argv[1] == "no" or keep_freed_memory()
torch.ones(16 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(16 << 20)  # 64 MiB: 16,384 pages
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_what_was_freed_is_not_taken_anew():
    faults = {
        keep: int(
            subprocess.run(
                [sys.executable, "-c", FAULTS, keep], capture_output=True, text=True, check=True
            ).stdout
        )
        for keep in ("no", "yes")
    }
    # Not none: a block has to lie on a round address, and its rest may be cut off behind another.
    assert faults["yes"] < faults["no"] / 2
