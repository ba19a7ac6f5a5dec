"""Who am I among how many: the process group as Accelerate, torchrun, or bare srun started it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn, TypeVar

from largegan.errors import EnvironmentFault, Requeue, UserError
from largegan.parallel import watch

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among its peers."""

    rank: int
    size: int
    device: "torch.device"


HOW = (
    "start one process per device with `accelerate launch --multi_gpu --num_processes N -m "
    "largegan.train ...` (it also starts N processes without a GPU) or `torchrun "
    "--nproc-per-node N -m largegan.train ...`"
)


def connect(
    processes: int | None = None, *, cpu_threads: int | None = None, timeout_s: float = 600
) -> World:
    """Joins the process group that the launcher announced in the environment.

    `processes` is the number of processes the user asked for; None accepts what was launched.
    Raises `EnvironmentFault` when that many processes are not in this group: launchers can start
    N runs that know nothing of each other, and each would overwrite the others' files. From here
    on, a rank that lets the others wait for `timeout_s` is named, and ends the run.
    """
    adopt_slurm(os.environ)
    refuse_lonely(os.environ)
    import torch
    from accelerate import PartialState

    threads = cpu_threads or threads_per_process(os.environ)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # or Accelerate guesses, and warns
    # Later than the watch, which knows better what to say.
    timeout = timedelta(seconds=1.5 * timeout_s + 30)
    # Without cpu=True, Accelerate on a machine without a GPU ignores RANK and WORLD_SIZE.
    with meeting(os.environ):
        state = PartialState(cpu=not torch.cuda.is_available(), timeout=timeout)
        # Who is refused below, and leaves, would break the first contact of those who come later.
        state.wait_for_everyone()
    world = World(state.process_index, state.num_processes, state.device)
    check_size(world.size, os.environ, processes)
    if world.device.type == "cpu":
        torch.set_num_threads(threads)
    if world.size > 1:
        watch.start(world.rank, world.size, timeout_s=timeout_s, end=lambda: leave_at_once(4))
    return world


@contextmanager
def meeting(env: dict[str, str]) -> Iterator[None]:
    """Around the ranks' first contact: what can go wrong there, in a sentence."""
    try:
        yield
    except RuntimeError as fault:  # torch.distributed's errors are such
        where = f"{env.get('MASTER_ADDR')}:{env.get('MASTER_PORT')}"
        reason = str(fault).splitlines()[0][:200]
        if "EADDRINUSE" in str(fault) or "address already in use" in str(fault):
            raise EnvironmentFault(
                f"port {where} is taken by another program, perhaps another training; choose "
                "another with MASTER_PORT (accelerate: --main_process_port)"
            ) from fault
        raise EnvironmentFault(
            f"rank {env.get('RANK')} did not find the other processes at {where} ({reason}); check "
            "that all of them started and that the nodes reach each other"
        ) from fault


def agree(world: World, decide: Callable[[], T]) -> T:
    """Rank 0 decides, everyone gets its answer, or raises its error: nobody is left waiting."""
    if world.size == 1:
        return decide()
    import torch.distributed as dist

    box: list = [None, None]
    if world.rank == 0:
        try:
            box[0] = decide()
        except UserError as fault:
            box[1] = fault
    with contact():
        dist.broadcast_object_list(box, src=0)
    if box[1] is not None:
        raise known_to_all(box[1])
    return box[0]


def together(world: World, work: Callable[[], T]) -> T:
    """Everyone works; a `UserError` of one is raised by all, and nobody waits for ever."""
    answer, fault = None, None
    try:
        answer = work()
    except UserError as error:
        fault = error
    if world.size > 1:
        import torch.distributed as dist

        faults: list = [None] * world.size
        with contact():
            dist.all_gather_object(faults, fault)
        fault = next((f for f in faults if f is not None), None)
    if fault is not None:
        raise known_to_all(fault)
    return answer


def add_up(world: World) -> "Callable[[torch.Tensor], torch.Tensor] | None":
    """Sums a tensor of the host over all processes, which call it together; None for one alone."""
    if world.size == 1:
        return None
    import torch.distributed as dist

    def total(part: "torch.Tensor") -> "torch.Tensor":
        # A copy on the device of this process: NCCL reduces nothing else.
        shared = part.to(world.device, copy=True)
        with contact():
            dist.all_reduce(shared)
        return shared.cpu()

    return total


@contextmanager
def contact() -> Iterator[None]:
    """Around every collective: a peer that is gone is one sentence, not a page of traceback."""
    try:
        with watch.waiting():
            yield
    except RuntimeError as fault:  # what gloo raises, and the base of what NCCL raises
        import torch

        if isinstance(fault, torch.OutOfMemoryError):  # in a backward that also gathers: our own
            raise
        if (reason := watch.reported()) is not None:
            raise fault_of(*reason) from fault
        raise EnvironmentFault(
            f"lost contact with another process of this run ({str(fault).splitlines()[0][:160]}); "
            "its own message says why; continue with --run.resume auto"
        ) from fault


@contextmanager
def reporting() -> Iterator[None]:
    """Around all of a run: what ends one rank is said to the others, who end for that reason too.

    Otherwise they would only have lost contact, and a job of several nodes ends with the largest
    exit code of all: that one, which asks to be tried again.
    """
    try:
        yield
    except UserError as fault:
        tried_again = (EnvironmentFault.exit_code, Requeue.exit_code)
        if fault.exit_code not in tried_again and not fault.known_to_all:
            watch.report(fault.exit_code, str(fault))
        raise


def known_to_all(fault: UserError) -> UserError:
    """An error that every rank raises: nobody needs to be told."""
    fault.known_to_all = True
    return fault


def fault_of(code: int, sentence: str) -> UserError:
    """The error of an exit code."""
    kinds = {kind.exit_code: kind for kind in UserError.__subclasses__()}
    return kinds.get(code, UserError)(sentence)


def disconnect() -> None:
    """Leaves the process group, if there is one."""
    watch.stop()
    if "torch" not in sys.modules:  # refused before it was needed
        return
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def leave(code: int) -> NoReturn:
    """Ends this process with an exit code, after everything has been closed.

    A process that was in a group sometimes aborts while the interpreter shuts down (seen with gloo
    in torch 2.15: "terminate called without an active exception"), which would turn a finished run
    into a failed job. There is nothing left to tidy up, so that part is left out.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        leave_at_once(code)
    sys.exit(record_exit(code))


def leave_at_once(code: int) -> NoReturn:
    """Ends this process from any thread."""
    code = record_exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def record_exit(code: int) -> int:
    """Writes the exit code where `slurm/forward.sh` looks, because launchers turn every failure
    into 1; returns the code to leave with.
    """
    file = os.environ.get("LARGEGAN_EXIT_FILE")
    if not file:
        return code
    with suppress(OSError), open(file, "a") as record:
        record.write(f"{code}\n")
    # Asking to be requeued is no failure: launchers answer one with pages of traceback.
    return 0 if code == Requeue.exit_code else code


def adopt_slurm(env: dict[str, str]) -> None:
    """Under bare `srun`, one task is one rank: writes the variables that torch expects."""
    if "RANK" in env or int(env.get("SLURM_STEP_NUM_TASKS", "1")) == 1:
        return
    if "SLURM_PROCID" not in env:
        return
    env["RANK"], env["WORLD_SIZE"] = env["SLURM_PROCID"], env["SLURM_STEP_NUM_TASKS"]
    env["LOCAL_RANK"] = env.get("SLURM_LOCALID", "0")
    if "MASTER_ADDR" not in env:
        nodes = env.get("SLURM_STEP_NODELIST", env.get("SLURM_NODELIST", ""))
        listing = subprocess.run(
            ["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=False
        )
        names = listing.stdout.split()
        if not names:
            raise EnvironmentFault(
                f"srun started {env['WORLD_SIZE']} tasks, but `scontrol show hostnames {nodes}` "
                "names no node; export MASTER_ADDR and MASTER_PORT in the batch script"
            )
        env["MASTER_ADDR"] = names[0]
    # Two jobs on one node must not meet, so the port follows the job and the step.
    job = int(env.get("SLURM_JOB_ID", "0")) + int(env.get("SLURM_STEP_ID", "0"))
    env.setdefault("MASTER_PORT", str(20_000 + job % 20_000))


def refuse_lonely(env: dict[str, str]) -> None:
    """`accelerate launch --num_processes 2` without a GPU starts one process and says nothing."""
    told = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
    by_accelerate = "ACCELERATE_MIXED_PRECISION" in env and not any(name in env for name in told)
    # Accelerate's one-process launcher writes an address only when asked for several processes.
    if by_accelerate and "MASTER_ADDR" in env and "MASTER_PORT" in env:
        raise EnvironmentFault(
            "accelerate was asked for several processes and started only this one (it does so "
            f"when no GPU is visible and --multi_gpu is absent); {HOW}; if MASTER_ADDR is your "
            "own, unset it"
        )


def check_size(size: int, env: dict[str, str], processes: int | None) -> None:
    """Compares the group we joined with every claim about how large it should be."""
    claims = {"WORLD_SIZE": env.get("WORLD_SIZE"), "--parallel.processes": processes}
    if "TORCHELASTIC_RUN_ID" not in env:
        # Under torchrun these count the launchers, one per node, not the ranks.
        for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
            claims[name] = env.get(name)
    for source, claim in claims.items():
        if claim is not None and int(claim) != size:
            raise EnvironmentFault(
                f"{source} asks for {claim} processes but this process group has {size}; {HOW}"
            )


def threads_per_process(env: dict[str, str]) -> int:
    """CPU threads for each process of this node.

    Not OMP_NUM_THREADS: `accelerate launch` sets it to 1 when nobody chose a number.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // int(env.get("LOCAL_WORLD_SIZE", "1")))
