"""GPUs, processor cores and the memory that data workers share."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import torch

from largegan.doctor.finding import Finding, Visit
from largegan.parallel.launch import threads_per_process

SHARED_MEMORY = Path("/dev/shm")
GIB, MIB = 2**30, 2**20


def check_devices(visit: Visit) -> Iterator[Finding]:
    build = f"torch {torch.__version__}, CUDA {torch.version.cuda or 'not in this build'}"
    if not torch.cuda.is_available():
        yield without_gpu(build)
        return
    names = []
    for i in range(torch.cuda.device_count()):
        free, total = (n / GIB for n in torch.cuda.mem_get_info(i))
        names.append(f"{torch.cuda.get_device_name(i)} ({free:.0f} of {total:.0f} GiB free)")
        if free < total / 2:
            remedy = "another program uses it; choose another with CUDA_VISIBLE_DEVICES"
            yield Finding("warn", f"cuda:{i}", f"{free:.1f} of {total:.1f} GiB free", remedy)
    yield Finding("ok", "devices", f"{build}, NCCL {nccl_version()}; {', '.join(names)}")


def without_gpu(build: str) -> Finding:
    """Fine, unless the driver has a GPU that nobody hid."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is None and driver_lists_gpus():
        return Finding(
            "warn",
            "devices",
            f"{build}; the driver lists a GPU that torch cannot use",
            "install a torch build with CUDA that this driver supports",
        )
    why = f" (CUDA_VISIBLE_DEVICES={hidden!r})" if hidden is not None else ""
    return Finding("ok", "devices", f"{build}; no GPU{why}, training runs on the CPU")


def driver_lists_gpus() -> bool:
    """Whether NVIDIA's driver knows of a GPU, whatever torch thinks."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    try:
        answer = subprocess.run([program, "-L"], capture_output=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and b"GPU" in answer.stdout


def nccl_version() -> str:
    try:
        return ".".join(map(str, torch.cuda.nccl.version()))
    except AttributeError:  # how torch says that it was built without
        return "missing"


def check_cpu(visit: Visit) -> Iterator[Finding]:
    threads = threads_per_process(os.environ)
    wanted = os.environ.get("OMP_NUM_THREADS")
    note = ""
    if wanted is not None:
        # Accelerate exports 1 when nobody chose; the trainer does not follow it.
        note = f" (not OMP_NUM_THREADS={wanted}, which launchers set; see train.cpu_threads)"
    yield Finding("ok", "cpu", f"{os.cpu_count()} cores, {threads} threads a process{note}")
    if SHARED_MEMORY.is_dir() and (free := shutil.disk_usage(SHARED_MEMORY).free) < 256 * MIB:
        yield Finding(
            "warn",
            "shared memory",
            f"{free / MIB:.0f} MiB free in {SHARED_MEMORY}",
            "data workers pass batches through it: start the container with a larger --shm-size "
            "or use data.workers 0",
        )
