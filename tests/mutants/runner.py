"""Runs pytest in folders given on standard input, one fork each: torch is imported only once.

A line is a JSON list: the folder, the log, then pytest's arguments. The answer is the exit code.
Nothing of largegan may be imported here: each child takes it from its own folder.
"""

import json
import os
import signal
import sys

import accelerate
import pytest
import torchvision

assert accelerate and torchvision and "largegan" not in sys.modules


def child(folder: str, log: str, arguments: list[str]) -> int:
    signal.alarm(200)  # a child that hangs is killed, and its exit code is not 1
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.chdir(folder)
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = folder
    return int(pytest.main(arguments))


for line in sys.stdin:
    folder, log, *arguments = json.loads(line)
    if (pid := os.fork()) == 0:
        code = 70  # what stands if the child ends by an exception
        try:
            code = child(folder, log, arguments)
        finally:
            sys.stdout.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
