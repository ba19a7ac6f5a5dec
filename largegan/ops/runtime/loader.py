"""From a plan to a running kernel on a GPU: loads machine code once, launches it."""

import threading

import torch

from largegan.errors import EnvironmentFault
from largegan.ops.runtime import cubins
from largegan.ops.runtime.driver import Kernel, driver
from largegan.ops.runtime.plan import Plan

_loaded: dict[tuple, Kernel | str] = {}  # or why it cannot be had
_lock = threading.Lock()


def launch(plan: Plan, device: torch.device) -> None:
    """Queues a kernel on torch's current stream of `device`.

    Raises EnvironmentFault where it cannot be had, and RuntimeError where a CUDA graph is being
    captured and the kernel was never used before.
    """
    index = torch.cuda.current_device() if device.index is None else device.index
    kernel = _kernel(plan, index)
    stream = torch._C._cuda_getCurrentRawStream(index)
    kernel.launch(plan.grid, plan.block, plan.shared, plan.params, stream)


def _kernel(plan: Plan, index: int) -> Kernel:
    """The kernel, loaded once for each GPU; what failed once is not tried again."""
    name = (index, plan.source, plan.defines)
    found = _loaded.get(name)
    if found is None:
        with _lock:
            if name not in _loaded:
                _loaded[name] = _load(plan, index)
            found = _loaded[name]
    if isinstance(found, str):
        raise EnvironmentFault(found)
    return found


def _load(plan: Plan, index: int) -> Kernel | str:
    if torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            f"{plan.source} is used for the first time inside a CUDA-graph capture, which loading "
            "it could break: run the step once before capturing it"
        )
    major, minor = torch.cuda.get_device_capability(index)
    capability = 10 * major + minor
    try:
        code, origin = cubins.binary(plan.source, plan.defines, capability)
        try:
            return driver().load(code, index)
        except EnvironmentFault:
            if origin != "cache":
                raise
            code, _ = cubins.binary(plan.source, plan.defines, capability, fresh=True)
            return driver().load(code, index)
    except EnvironmentFault as fault:
        return str(fault)
