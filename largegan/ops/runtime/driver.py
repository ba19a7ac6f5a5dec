"""NVIDIA's driver by ctypes: loads machine code on a GPU and launches it.

Contexts are those of torch (the primary one of each GPU). Threads that have none yet, as the
workers of autograd on their first call, get it for the time of a call.
"""

import ctypes as ct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from largegan.errors import EnvironmentFault

LIBRARY = "libcuda.so.1"
FREE_SHARED = 48 << 10  # bytes of shared memory that need no permission
# Numbers of cuda.h.
MAX_SHARED_OF_DEVICE = 97  # CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
STATIC_SHARED, MAX_DYNAMIC_SHARED = 1, 8  # CU_FUNC_ATTRIBUTE_...
Size = tuple[int, int, int]


class Driver:
    """`library` is libcuda as ctypes opens it (a test passes its own)."""

    def __init__(self, library):
        self.library = library
        self.lock = threading.Lock()
        self.contexts: dict[int, ct.c_void_p] = {}
        library.cuLaunchKernel.argtypes = [
            ct.c_void_p, *[ct.c_uint] * 7, ct.c_void_p, ct.c_void_p, ct.c_void_p,
        ]  # fmt: skip
        self._check(library.cuInit(0), "cuInit")

    def load(self, code: bytes, device: int) -> "Kernel":
        """The function `kernel` of a cubin or of PTX, on one GPU."""
        module, function = ct.c_void_p(), ct.c_void_p()
        with self.context(device):
            self._check(self.library.cuModuleLoadData(ct.byref(module), code), "loading a kernel")
            found = self.library.cuModuleGetFunction(ct.byref(function), module, b"kernel")
            self._check(found, "finding a kernel")
            return Kernel(self, device, function, self._permit_shared(function, device))

    def _permit_shared(self, function: ct.c_void_p, device: int) -> int:
        """Lets the function use all the shared memory a block of this GPU may have; bytes."""
        total, static = ct.c_int(), ct.c_int()
        library, gpu = self.library, self._gpu(device)
        failed = library.cuDeviceGetAttribute(ct.byref(total), MAX_SHARED_OF_DEVICE, gpu)
        failed = failed or library.cuFuncGetAttribute(ct.byref(static), STATIC_SHARED, function)
        dynamic = total.value - static.value
        if failed or library.cuFuncSetAttribute(function, MAX_DYNAMIC_SHARED, dynamic):
            return FREE_SHARED
        return dynamic

    @contextmanager
    def context(self, device: int) -> Iterator[None]:
        """Within it, calls go to this GPU; the thread's own context comes back afterwards."""
        current, wanted = ct.c_void_p(), self._primary(device)
        self._check(self.library.cuCtxGetCurrent(ct.byref(current)), "asking for the context")
        if current.value == wanted.value:
            yield
            return
        self._check(self.library.cuCtxPushCurrent_v2(wanted), "changing the context")
        try:
            yield
        finally:
            self._check(self.library.cuCtxPopCurrent_v2(ct.byref(current)), "changing the context")

    def _primary(self, device: int) -> ct.c_void_p:
        if device not in self.contexts:
            with self.lock:
                context = ct.c_void_p()
                gpu = self._gpu(device)
                retained = self.library.cuDevicePrimaryCtxRetain(ct.byref(context), gpu)
                self._check(retained, f"taking the context of cuda:{device}")
                self.contexts[device] = context
        return self.contexts[device]

    def _gpu(self, device: int) -> ct.c_int:
        gpu = ct.c_int()
        self._check(self.library.cuDeviceGet(ct.byref(gpu), device), f"finding cuda:{device}")
        return gpu

    def _check(self, result: int, doing: str) -> None:
        if result:
            text = ct.c_char_p()
            self.library.cuGetErrorString(result, ct.byref(text))
            reason = (text.value or b"unknown").decode()
            raise EnvironmentFault(f"{doing} failed with CUDA error {result} ({reason})")


class Kernel:
    """A function on one GPU. Its module is never unloaded: captured graphs go on using it."""

    def __init__(self, driver: Driver, device: int, function: ct.c_void_p, max_shared: int):
        self.driver, self.device, self.function = driver, device, function
        self.max_shared = max_shared

    def launch(self, grid: Size, block: Size, shared: int, params: bytes, stream: int) -> None:
        """Queues it on `stream`; `params` are copied before this returns."""
        if shared > self.max_shared:
            raise EnvironmentFault(
                f"a kernel needs {shared} bytes of shared memory and a block of cuda:{self.device} "
                f"may have {self.max_shared}"
            )
        pointers = (ct.c_char_p * 1)(params)  # void* kernelParams[1]
        with self.driver.context(self.device):
            result = self.driver.library.cuLaunchKernel(
                self.function, *grid, *block, shared, stream, pointers, None
            )
            self.driver._check(result, "launching a kernel")


@cache
def driver() -> Driver:
    """The machine's; raises EnvironmentFault where there is none."""
    try:
        return Driver(ct.CDLL(LIBRARY))
    except OSError as error:
        raise EnvironmentFault(
            f"NVIDIA's driver library {LIBRARY} was not found ({error})"
        ) from None
