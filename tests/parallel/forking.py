"""Real process groups from one import: `python -m tests.parallel.forking RANKS MODULE ARGUMENTS`.

Imports what ranks need once, torch and DeepSpeed among it, and forks RANKS processes, each of
which calls `MODULE.main(ARGUMENTS)`: seconds of importing are spent once instead of once a rank.
"""

import gc
import importlib
import os
import sys
import traceback

from tests.parallel.launching import finish, free_port, start

# DeepSpeed and FSDP2 import the others when they are first used.
PRELOADED = (
    "accelerate",
    "deepspeed",
    "torch._inductor.compile_fx",
    "torch.distributed.fsdp",
    "torch.utils.cpp_extension",
)


def run_forked(module: str, arguments: list[str], world: int, timeout_s: float = 600) -> str:
    """Waits for all ranks; returns what they printed; fails the test if any failed."""
    process = start(["-m", "tests.parallel.forking", str(world), module, *arguments])
    output = finish([process], timeout_s)[0]
    assert process.returncode == 0, output
    return output


def rank(number: int, world: int, port: int, module, arguments: list[str]) -> int:
    """What a fork does: its exit code."""
    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number), "MASTER_PORT": str(port)}
    os.environ |= {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    try:
        module.main(arguments)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def main(world: int, name: str, arguments: list[str]) -> int:
    for needed in PRELOADED:
        importlib.import_module(needed)
    module, port = importlib.import_module(name), free_port()
    gc.freeze()  # or each collection, of which DeepSpeed asks for many, looks at all of torch
    children = []
    for number in range(world):
        child = os.fork()
        if child == 0:
            code = rank(number, world, port, module, arguments)
            sys.stdout.flush()
            os._exit(code)  # as `launch.leave`: what is left to tidy up may abort
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return max(map(abs, codes))


if __name__ == "__main__":
    code = main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
    sys.stdout.flush()
    os._exit(code)  # what was imported would say a page while it is tidied up
